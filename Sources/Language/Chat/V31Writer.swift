/// DeepSeek-V3.1's rules.
struct V31Writer: ChatWriter {
    private(set) var prompt: ChatPrompt
    let thinking: Bool
    private var afterUser = false
    private var afterTool = false

    init(prompt: ChatPrompt, thinking: Bool) {
        self.prompt = prompt
        self.thinking = thinking
    }

    mutating func write(_ message: ChatMessage, open: Bool) {
        let content = message.content ?? ""
        switch message.role {
        case .system: return
        case .user:
            afterTool = false
            prompt.append(.user)
            prompt.append(content)
        case .tool:
            afterTool = true
            prompt.append(.beginOutput)
            prompt.append(content)
            prompt.append(.endOutput)
        case .assistant where !message.toolCalls.isEmpty:
            if afterUser { begin(thinking: false) }
            afterTool = false
            prompt.append(content)
            prompt.append(.beginCalls)
            for call in message.toolCalls { prompt.append(call, in: .bare) }
            prompt.append(.endCalls)
            prompt.append(.endOfSequence)
        case .assistant:
            if afterUser { begin(thinking: message.isPrefix && thinking) }
            prompt.append(afterTool || open ? content : Self.answer(content))
            if !open { prompt.append(.endOfSequence) }
            afterTool = false
        }
        afterUser = message.role == .user
    }

    private mutating func begin(thinking: Bool) {
        prompt.append(.assistant)
        prompt.append(thinking ? .beginThinking : .endThinking)
    }

    mutating func finish(generation: Bool) {
        if generation && afterUser && !afterTool { begin(thinking: thinking) }
    }

    /// An answer without its thought, which here ends with the first `</think>`.
    private static func answer(_ content: String) -> String {
        content.places(of: ChatToken.endThinking.rawValue).first
            .map { String(content[$0.upperBound...]) } ?? content
    }
}
