import Grammar
import Language

/// Answers of messages in channels, as gpt-oss writes them.
extension CallConstraint {
    private func mark(_ token: HarmonyToken) -> OutputConstraint { mark(token.rawValue) }

    /// A message after the token that begins it: a call, or words up to where they begin.
    func message(of tools: [Tool]) -> OutputConstraint {
        .sequence([
            .text(ChatTemplate.answerAuthor),
            .either([
                channeledCall(of: tools),
                .sequence([
                    mark(.channel), .choice(["analysis", "commentary", "final"]), mark(.message),
                ]),
            ]),
        ])
    }

    /// A call after the author of its message: the function stands before the channel, as templates
    /// write it, or behind it, as models do.
    func channeledCall(of tools: [Tool]) -> OutputConstraint {
        let kind = OutputConstraint.either([
            .text(" json"),
            .sequence([.choice([" ", ""]), mark(.constrain), .text("json")]),
        ])
        func named(_ rest: [OutputConstraint]) -> OutputConstraint {
            .either(
                tools.map { tool in
                    let arguments = OutputConstraint.named(
                        "the parameters of tool \(tool.name)", parameter: "tools", tool.arguments)
                    return .sequence(
                        [.text(tool.name)] + rest + [kind, mark(.message), arguments])
                })
        }
        return .sequence([
            .either([
                .sequence([
                    .text(" to=functions."), named([mark(.channel), .text("commentary")]),
                ]),
                .sequence([mark(.channel), .text("commentary to=functions."), named([])]),
            ]),
            mark(.call),
        ])
    }

    /// A whole answer: what the request asks for as words, or a call, either after a thought.
    ///
    /// - Parameters:
    ///   - words: What the words must be; nil where there must be a call.
    ///   - tools: The functions that may be called instead.
    ///   - thinks: Whether a thought may come first.
    func answer(
        words: OutputConstraint?, tools: [Tool], thinks: Bool
    ) -> OutputConstraint {
        var ends: [OutputConstraint] = []
        if let words {
            ends.append(.sequence([mark(.channel), .text("final"), mark(.message), words]))
        }
        if !tools.isEmpty { ends.append(channeledCall(of: tools)) }
        let thought = OutputConstraint.sequence([
            mark(.channel), .text("analysis"), mark(.message), anyText, mark(.end), mark(.start),
            .text(ChatTemplate.answerAuthor),
        ])
        return .sequence((thinks ? [.either([.text(""), thought])] : []) + [.either(ends)])
    }
}
