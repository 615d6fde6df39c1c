/// DeepSeek-V3's rules, with the published template's two peculiarities kept, because that is
/// what the model is served with everywhere: only the conversation's first call and first tool
/// output open a section, and a user's turn does not close one.
struct V3Writer: ChatWriter {
    private(set) var prompt: ChatPrompt
    /// Whether an answer begins with a thought, as R1's does.
    let thinks: Bool
    private var wroteCall = false
    private var wroteOutput = false
    private var afterTool = false

    init(prompt: ChatPrompt, thinks: Bool) {
        self.prompt = prompt
        self.thinks = thinks
    }

    mutating func write(_ message: ChatMessage, open: Bool) {
        let content = message.content ?? ""
        switch message.role {
        case .system: break
        case .user:
            afterTool = false
            prompt.append(.user)
            prompt.append(content)
        case .tool:
            if !wroteOutput { prompt.append(.beginOutputs) }
            wroteOutput = true
            afterTool = true
            prompt.append(.beginOutput)
            prompt.append(content)
            prompt.append(.endOutput)
        case .assistant where !message.toolCalls.isEmpty:
            afterTool = false
            for call in message.toolCalls {
                if wroteCall {
                    prompt.append("\n")
                } else {
                    prompt.append(.assistant)
                    prompt.append(content)
                    prompt.append(.beginCalls)
                }
                wroteCall = true
                prompt.append(call, in: .fenced)
            }
            prompt.append(.endCalls)
            prompt.append(.endOfSequence)
        case .assistant:
            prompt.append(afterTool ? .endOutputs : .assistant)
            prompt.append(afterTool || open ? content : message.answer)
            if !open { prompt.append(.endOfSequence) }
            afterTool = false
        }
    }

    mutating func finish(generation: Bool) {
        if afterTool { prompt.append(.endOutputs) }
        guard generation && !afterTool else { return }
        prompt.append(.assistant)
        if thinks {
            prompt.append(.beginThinking)
            prompt.append("\n")
        }
    }
}
