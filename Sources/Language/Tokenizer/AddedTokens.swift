/// The tokens that are found in the text before any splitting, the leftmost first and of those
/// that begin together the longest.
struct AddedTokens: Sendable {
    struct Token: Sendable, Equatable {
        var id: Int
        var content: String
        /// Left out of text that is decoded for people.
        var special: Bool
        /// Searched only in what the other added tokens left, as Hugging Face's tokenizers do.
        var normalized: Bool
    }

    private let exact: Trie
    private let normalized: Trie

    private let normalizer: Normalizer

    init(_ tokens: [Token], normalizer: Normalizer = .none) {
        self.normalizer = normalizer
        exact = Trie(tokens.filter { !$0.normalized })
        normalized = Trie(
            tokens.filter(\.normalized).map { token in
                var token = token
                let bytes = normalizer.normalize(Array(token.content.utf8)[...])
                token.content = String(decoding: bytes, as: UTF8.self)
                return token
            })
    }

    /// A stretch of text: one added token, or normalised text to be encoded.
    enum Piece: Equatable {
        case token(Int)
        case text([UInt8])
    }

    /// A stretch of text: one added token, or text between them.
    private struct Part {
        var range: Range<Int>
        var token: Int?
    }

    func pieces(of text: [UInt8]) -> [Piece] {
        exact.parts(of: text, 0 ..< text.count).flatMap { part -> [Piece] in
            if let token = part.token { return [.token(token)] }
            let words = normalizer.normalize(text[part.range])
            return normalized.parts(of: words, 0 ..< words.count).map { part in
                part.token.map { .token($0) } ?? .text(Array(words[part.range]))
            }
        }
    }

    /// A trie over UTF-8 bytes.
    ///
    /// A walk ends after the longest token's bytes, so a search is linear in the text.
    private struct Trie: Sendable {
        private struct Node: Sendable {
            var children: [UInt8: Int32] = [:]
            var token: Int?
        }

        private var nodes = [Node()]
        /// Whether a token begins with this byte: nearly every position of a text is settled here.
        private var begins = [Bool](repeating: false, count: 256)

        init(_ tokens: [Token]) {
            for token in tokens {
                var node = 0
                for byte in token.content.utf8 {
                    if let child = nodes[node].children[byte] {
                        node = Int(child)
                    } else {
                        nodes.append(Node())
                        nodes[node].children[byte] = Int32(nodes.count - 1)
                        node = nodes.count - 1
                    }
                }
                nodes[node].token = token.id
                if let first = token.content.utf8.first { begins[Int(first)] = true }
            }
        }

        func parts(of text: [UInt8], _ range: Range<Int>) -> [Part] {
            guard !range.isEmpty else { return [] }
            guard nodes.count > 1 else { return [Part(range: range, token: nil)] }
            var parts: [Part] = []
            var textStart = range.lowerBound
            var position = range.lowerBound
            while position < range.upperBound {
                guard begins[Int(text[position])],
                    let (end, token) = longest(text, position, range.upperBound)
                else {
                    position += 1
                    continue
                }
                if textStart < position { parts.append(Part(range: textStart ..< position)) }
                parts.append(Part(range: position ..< end, token: token))
                position = end
                textStart = end
            }
            if textStart < position { parts.append(Part(range: textStart ..< position)) }
            return parts
        }

        private func longest(_ text: [UInt8], _ start: Int, _ limit: Int) -> (Int, Int)? {
            var node = 0
            var found: (Int, Int)?
            var position = start
            while position < limit, let child = nodes[node].children[text[position]] {
                node = Int(child)
                position += 1
                if let token = nodes[node].token { found = (position, token) }
            }
            return found
        }
    }
}
