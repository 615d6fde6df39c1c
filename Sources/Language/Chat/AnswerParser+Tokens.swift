extension AnswerParser {
    /// The special tokens that structure an answer: they are text to the parser, so a decoder that
    /// skips special tokens keeps them.
    public static func structureTokens(of tokenizer: Tokenizer) -> Set<Int> {
        let tokens: [ChatToken] = [
            .beginThinking, .endThinking, .beginCalls, .endCalls, .beginCall, .endCall, .separator,
        ]
        return Set(tokens.compactMap { tokenizer.id(of: $0.rawValue) })
    }
}

extension CallForm {
    /// The tokens with which a model begins a call of one function, so that only the arguments are
    /// left to generate.
    public func beginning(ofCall name: String, _ tokenizer: Tokenizer) -> [Int] {
        var prompt = ChatPrompt()
        prompt.append(.beginCalls)
        prompt.append(.beginCall)
        prompt.append(self == .fenced ? "function" : name)
        prompt.append(.separator)
        if self == .fenced { prompt.append("\(name)\n```json\n") }
        return prompt.ids(tokenizer)
    }
}
