extension ChatTemplate {
    /// Why a conversation cannot be written by these rules, where they need every result of a
    /// turn's calls or have one place for system turns; nil where it can.
    ///
    /// Kimi's rules name the result by its call, and V3.2's write the section of results and begin
    /// the answer after the last one: a missing result would be another call's, or leave the prompt
    /// open. Those of Qwen3-Coder and MiniMax only need a call before a result. MiniMax's write a
    /// system turn that begins the conversation, and leave out every other, and so do gpt-oss's.
    package func fault(in messages: [ChatMessage]) -> String? {
        switch style {
        case .kimiK2, .kimiK2Thinking, .kimiK25, .glm45, .glm47, .glm51, .glm52, .v32, .qwen3Coder,
            .minimaxM2, .gptOss:
            break
        case .v2, .v3, .v30324, .r1, .r10528, .v31, .plain: return nil
        case .qwen3, .qwen3Instruct, .qwen3Thinking: return nil
        }
        if style == .minimaxM2 || style == .gptOss,
            let index = messages.indices.dropFirst().first(where: { messages[$0].role == .system })
        {
            return "messages[\(index)] is a system turn: only messages[0] can be one"
        }
        let needsAll = ![.qwen3Coder, .minimaxM2, .gptOss].contains(style)
        var awaited = 0
        var turn = 0
        for (index, message) in messages.enumerated() {
            if message.role == .tool {
                guard awaited > 0 else {
                    return "messages[\(index)] is a tool's result without a call before it"
                }
                awaited -= 1
                continue
            }
            guard awaited == 0 || !needsAll else { return Self.missing(awaited, turn) }
            (awaited, turn) = (message.toolCalls.count, index)
        }
        guard awaited == 0 || !needsAll else { return Self.missing(awaited, turn) }
        let last = messages.last { $0.role != .system }
        guard style != .v32 || last?.role != .assistant || last?.isPrefix == true else {
            return "the last turn is the assistant's and is not to be continued"
        }
        return nil
    }

    private static func missing(_ count: Int, _ turn: Int) -> String {
        "messages[\(turn)] has calls of which \(count) have no result after it"
    }
}
