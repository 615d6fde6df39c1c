import Grammar
import Language
import Synchronization

/// Builds the vocabulary tree when the first constrained text needs it, on the thread that asks.
final class LazyVocabulary: Sendable {
    private let tokenizer: Tokenizer?
    private let endTokens: [Int]
    private let made = Mutex<ConstraintVocabulary?>(nil)

    init(_ tokenizer: Tokenizer?, endTokens: [Int]) {
        self.tokenizer = tokenizer
        self.endTokens = endTokens
    }

    /// The tree; nil without a tokenizer.
    var value: ConstraintVocabulary? {
        guard let tokenizer else { return nil }
        return made.withLock { made in
            if let made { return made }
            let vocabulary = ConstraintVocabulary(
                bytes: (0 ..< tokenizer.vocabularySize).map {
                    tokenizer.isSpecial($0) ? [] : Array(tokenizer.bytes(of: $0))
                }, endTokens: endTokens, markers: Self.markers(of: tokenizer))
            made = vocabulary
            return vocabulary
        }
    }

    /// The tokens that structure answers, in the order by which constraints name them.
    static func markers(of tokenizer: Tokenizer) -> [Int] {
        AnswerParser.structureTokens(of: tokenizer).sorted()
    }
}
