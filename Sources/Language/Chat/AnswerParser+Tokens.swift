extension AnswerParser {
    /// The special tokens that structure an answer: they are text to the parser, so a decoder that
    /// skips special tokens keeps them.
    public static func structureTokens(of tokenizer: Tokenizer) -> Set<Int> {
        Set(
            [
                beginThinking, endThinking, beginCalls, endCalls, beginCall, endCall, separator,
            ].compactMap { tokenizer.id(of: $0) })
    }

    /// The tokens with which a model begins a call of one function, so that only the arguments are
    /// left to generate.
    public static func beginning(ofCall name: String, _ tokenizer: Tokenizer) -> [Int] {
        var ids: [Int] = []
        for part in [beginCalls, beginCall, "function", separator, "\(name)\n```json\n"] {
            if let id = tokenizer.id(of: part) {
                ids.append(id)
            } else {
                ids += tokenizer.encode(part, addSpecialTokens: false, recogniseAddedTokens: false)
            }
        }
        return ids
    }

    /// Whether a prompt ends inside a thought.
    public static func isThinking(atEndOf prompt: String) -> Bool {
        prompt.hasSuffix(beginThinking) || prompt.hasSuffix(beginThinking + "\n")
    }
}
