/// DeepSeek-V2's rules: turns are words, each ended by a blank line or the end of a text.
///
/// It knows no tools: what they say is left out, as the published template does.
struct V2Writer: ChatWriter {
    private(set) var prompt: ChatPrompt

    init(prompt: ChatPrompt) { self.prompt = prompt }

    mutating func write(_ message: ChatMessage, open: Bool) {
        let content = message.content ?? ""
        switch message.role {
        case .system: prompt.append(content + "\n\n")
        case .user: prompt.append("User: \(content)\n\n")
        case .tool: break
        case .assistant:
            prompt.append("Assistant: \(content)")
            if !open { prompt.append(.endOfSequence) }
        }
    }

    mutating func finish(generation: Bool) {
        if generation { prompt.append("Assistant:") }
    }
}

/// The rules of this project's stories model: every turn stands where it was said.
///
/// Its template has no tools; they are declared first and written as DeepSeek-V3's.
struct PlainWriter: ChatWriter {
    private(set) var prompt: ChatPrompt
    private var tools: ChatPrompt?
    private var afterTool = false

    init(prompt: ChatPrompt, tools: ChatPrompt?) {
        self.prompt = prompt
        self.tools = tools
    }

    mutating func write(_ message: ChatMessage, open: Bool) {
        let content = message.content ?? ""
        if message.role == .system {
            prompt.append(content)
            if let tools {
                prompt.append("\n\n")
                prompt.append(tools)
            }
            tools = nil
            return
        }
        declareTools()
        switch message.role {
        case .system: break
        case .user:
            closeOutputs()
            prompt.append(.user)
            prompt.append(content)
        case .tool:
            if !afterTool { prompt.append(.beginOutputs) }
            afterTool = true
            prompt.append(.beginOutput)
            prompt.append(content)
            prompt.append(.endOutput)
        case .assistant:
            if !afterTool { prompt.append(.assistant) }
            closeOutputs()
            prompt.append(content)
            if !message.toolCalls.isEmpty {
                prompt.append(.beginCalls)
                for (index, call) in message.toolCalls.enumerated() {
                    prompt.append(index > 0 ? "\n" : "")
                    prompt.append(call, in: .fenced)
                }
                prompt.append(.endCalls)
            }
            if !open { prompt.append(.endOfSequence) }
        }
    }

    private mutating func declareTools() {
        if let tools { prompt.append(tools) }
        tools = nil
    }

    private mutating func closeOutputs() {
        if afterTool { prompt.append(.endOutputs) }
        afterTool = false
    }

    mutating func finish(generation: Bool) {
        declareTools()
        let answersTool = afterTool
        closeOutputs()
        if generation && !answersTool { prompt.append(.assistant) }
    }
}
