import Encoding

extension AnswerParser {
    /// The special tokens that structure an answer: they are text to the parser, so a decoder that
    /// skips special tokens keeps them.
    public static func structureTokens(of tokenizer: Tokenizer) -> Set<Int> {
        let deepSeek: [ChatToken] = [
            .beginThinking, .endThinking, .beginCalls, .endCalls, .beginCall, .endCall, .separator,
        ]
        let kimi: [KimiToken] = [.beginCalls, .endCalls, .beginCall, .beginArguments, .endCall]
        let glm: [GLMToken] = [.beginCall, .endCall, .beginKey, .endKey, .beginValue, .endValue]
        let minimax: [MiniMaxToken] = [.beginCalls, .endCalls]
        let names =
            deepSeek.map(\.rawValue) + kimi.map(\.rawValue) + glm.map(\.rawValue)
            + minimax.map(\.rawValue) + HarmonyToken.allCases.map(\.rawValue)
        return Set((names + [V32Writer.mark]).compactMap { tokenizer.id(of: $0) })
    }
}

extension CallForm {
    /// The tokens with which a model begins a call of one function, so that only the arguments are
    /// left to generate; of a form whose arguments are JSON.
    ///
    /// - Parameter number: Calls before it in the conversation.
    public func beginning(
        ofCall name: String, number: Int, _ tokenizer: Tokenizer
    ) -> [Int] {
        var prompt = ChatPrompt()
        if self == .object {
            prompt.append(qwen: .beginCall)
            prompt.append(Self.objectStart(JSONValue.quoted(name)))
            return prompt.ids(tokenizer)
        }
        if self == .channeled {
            prompt.append(harmony: .channel)
            prompt.append("commentary to=functions.\(name) ")
            prompt.append(harmony: .constrain)
            prompt.append("json")
            prompt.append(harmony: .message)
            return prompt.ids(tokenizer)
        }
        if self == .numbered {
            prompt.append(kimi: .beginCalls)
            prompt.append(kimi: .beginCall)
            prompt.append("functions.\(name):\(number)")
            prompt.append(kimi: .beginArguments)
            return prompt.ids(tokenizer)
        }
        prompt.append(.beginCalls)
        prompt.append(.beginCall)
        prompt.append(self == .fenced ? "function" : name)
        prompt.append(.separator)
        if self == .fenced { prompt.append("\(name)\n```json\n") }
        return prompt.ids(tokenizer)
    }
}
