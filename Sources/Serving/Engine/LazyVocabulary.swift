import Grammar
import Language

/// Builds the vocabulary tree when the first constrained text needs it.
final class LazyVocabulary {
    private let tokenizer: Tokenizer?
    private let endTokens: [Int]
    private(set) lazy var value: ConstraintVocabulary? = tokenizer.map { tokenizer in
        ConstraintVocabulary(
            bytes: (0 ..< tokenizer.vocabularySize).map {
                tokenizer.isSpecial($0) ? [] : Array(tokenizer.bytes(of: $0))
            }, endTokens: endTokens)
    }

    init(_ tokenizer: Tokenizer?, endTokens: [Int]) {
        self.tokenizer = tokenizer
        self.endTokens = endTokens
    }
}
