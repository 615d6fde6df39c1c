/// The rules of DeepSeek-V3-0324 and R1-0528: a user's turn ends where the answer begins, and each
/// turn of calls and of results has a section of its own.
struct TurnWriter: ChatWriter {
    private(set) var prompt: ChatPrompt
    /// Whether earlier answers lose their thoughts.
    let cutsThoughts: Bool
    private var wroteOutput = false
    private var afterTool = false
    private var afterUser = false

    init(prompt: ChatPrompt, cutsThoughts: Bool) {
        self.prompt = prompt
        self.cutsThoughts = cutsThoughts
    }

    mutating func write(_ message: ChatMessage, open: Bool) {
        let content = message.content ?? ""
        if message.role != .system { afterUser = message.role == .user }
        switch message.role {
        case .system: break
        case .user:
            afterTool = false
            prompt.append(.user)
            prompt.append(content)
            prompt.append(.assistant)
        case .tool:
            prompt.append(wroteOutput ? "\n" : "")
            if !wroteOutput { prompt.append(.beginOutputs) }
            wroteOutput = true
            afterTool = true
            prompt.append(.beginOutput)
            prompt.append(content)
            prompt.append(.endOutput)
        case .assistant where !message.toolCalls.isEmpty:
            if afterTool { prompt.append(.endOutputs) }
            afterTool = false
            wroteOutput = false
            prompt.append(cutsThoughts ? message.answer : content)
            prompt.append(.beginCalls)
            for (index, call) in message.toolCalls.enumerated() {
                prompt.append(index > 0 ? "\n" : "")
                prompt.append(call, in: .fenced)
            }
            prompt.append(.endCalls)
            prompt.append(.endOfSequence)
        case .assistant:
            if afterTool { prompt.append(.endOutputs) }
            prompt.append(cutsThoughts && !open ? message.answer : content)
            if !open { prompt.append(.endOfSequence) }
            afterTool = false
        }
    }

    mutating func finish(generation: Bool) {
        if afterTool { prompt.append(.endOutputs) }
        if generation && !afterUser && !afterTool { prompt.append(.assistant) }
    }
}
