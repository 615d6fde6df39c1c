/// The tokens that are found in the text before any splitting, the leftmost first and of those
/// that begin together the longest.
struct AddedTokens: Sendable {
    struct Token: Sendable, Equatable {
        var id: Int
        var content: String
        /// Left out of text that is decoded for people.
        var special: Bool
        /// Looked for only in what the other added tokens left, as Hugging Face's tokenizers do.
        var normalized: Bool
    }

    private let exact: Trie
    private let normalized: Trie

    init(_ tokens: [Token]) {
        exact = Trie(tokens.filter { !$0.normalized })
        normalized = Trie(tokens.filter(\.normalized))
    }

    /// A stretch of text: one added token, or text to be encoded.
    struct Part: Equatable {
        var range: Range<Int>
        var token: Int?
    }

    func parts(of text: [UInt8]) -> [Part] {
        exact.parts(of: text, 0 ..< text.count).flatMap { part in
            part.token == nil ? normalized.parts(of: text, part.range) : [part]
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
