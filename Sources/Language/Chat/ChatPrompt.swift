/// A rendered conversation: the model's structural tokens, and text between them.
///
/// Structure and text stay apart until they are ids, so text that spells `<｜Assistant｜>` stays
/// text: what a user or a tool says cannot forge a turn.
public struct ChatPrompt: Sendable, Hashable {
    /// A stretch of a prompt.
    public enum Part: Sendable, Hashable {
        /// A token of the model, as its tokenizer spells it.
        case token(String)
        /// Words, not empty.
        case text(String)

        fileprivate var words: String {
            switch self {
            case .token(let text), .text(let text): text
            }
        }
    }

    /// The stretches; no two texts are neighbours.
    public private(set) var parts: [Part] = []

    init() {}

    mutating func append(_ token: ChatToken) { parts.append(.token(token.rawValue)) }
    mutating func append(token name: String) { parts.append(.token(name)) }
    mutating func append(kimi token: KimiToken) { parts.append(.token(token.rawValue)) }
    mutating func append(qwen token: QwenToken) { parts.append(.token(token.rawValue)) }
    mutating func append(harmony token: HarmonyToken) { parts.append(.token(token.rawValue)) }
    mutating func append(glm token: GLMToken) { parts.append(.token(token.rawValue)) }

    /// Words of the rules, in which each of `tokens` is the model's.
    mutating func append(rules text: String, tokens: [String]) {
        var rest = text[...]
        while let (range, token) = tokens.compactMap({ token in
            rest.firstRange(of: token).map { ($0, token) }
        }).min(by: { $0.0.lowerBound < $1.0.lowerBound }) {
            append(String(rest[..<range.lowerBound]))
            append(token: token)
            rest = rest[range.upperBound...]
        }
        append(String(rest))
    }

    mutating func append(_ text: String) {
        guard !text.isEmpty else { return }
        if case .text(let before) = parts.last {
            parts[parts.count - 1] = .text(before + text)
        } else {
            parts.append(.text(text))
        }
    }

    mutating func append(_ other: ChatPrompt) {
        for part in other.parts {
            switch part {
            case .token: parts.append(part)
            case .text(let text): append(text)
            }
        }
    }

    /// Whether the answer goes on inside a thought: the last turn opens one and does not end it.
    ///
    /// After the token that begins an answer stands only what the model or the caller puts there,
    /// or what tools gave.
    public var endsInThought: Bool {
        let begin = parts.indices.last { beginsAnswer($0) } ?? parts.endIndex
        let answer = parts[begin...].map(\.words).joined()
        guard let mark = answer.places(of: ChatToken.beginThinking.rawValue).last else {
            return false
        }
        return !answer.utf8[mark.upperBound...].contains(ChatToken.endThinking.rawValue.utf8)
    }

    /// Whether the assistant's turn begins with this part.
    private func beginsAnswer(_ index: Int) -> Bool {
        guard case .token(let name) = parts[index] else { return false }
        if Self.beginnings.contains(name) { return true }
        // Where one token begins every turn, the role comes after it.
        guard let role = Self.roles[name], index + 1 < parts.count else { return false }
        return parts[index + 1].words.utf8.starts(with: role.utf8)
    }

    private static let beginnings: Set<String> = [
        ChatToken.assistant.rawValue, KimiToken.assistant.rawValue, GLMToken.assistant.rawValue,
    ]
    private static let roles = [
        QwenToken.start.rawValue: QwenWriter.assistant, MiniMaxToken.start.rawValue: "ai\n",
    ]

    /// The prompt as one string, as a template of Hugging Face renders it.
    public var text: String {
        parts.map(\.words).joined()
    }

    /// The prompt's ids.
    ///
    /// A token that the tokenizer lacks is written as text.
    public func ids(_ tokenizer: Tokenizer) -> [Int] {
        var ids: [Int] = []
        var text = ""
        func flush() {
            ids += tokenizer.encode(text, addSpecialTokens: false, recogniseAddedTokens: false)
            text = ""
        }
        for part in parts {
            switch part {
            case .text(let words): text += words
            case .token(let name):
                if let id = tokenizer.id(of: name) {
                    flush()
                    ids.append(id)
                } else {
                    text += name
                }
            }
        }
        flush()
        return ids
    }
}
