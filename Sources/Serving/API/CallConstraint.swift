import Grammar
import Language

/// Calls of tools in a model's own format, as a part of a constraint: for an answer that is a call
/// or what a response format asks for.
struct CallConstraint {
    let tokenizer: Tokenizer
    /// Whether arguments stand in a code fence after the name, as in V3's format, or bare after the
    /// separator, as in V3.1's.
    let isFenced: Bool

    /// One call or several, one after another.
    func calls(of tools: [Tool], atMost most: Int?) -> OutputConstraint {
        let one = OutputConstraint.sequence([
            mark(.beginCall), .either(tools.map(call)), mark(.endCall),
        ])
        // V3 begins a line with each further call.
        let next = isFenced ? OutputConstraint.sequence([.choice(["\n", ""]), one]) : one
        let rest = most.map { $0 - 1 }
        let more: [OutputConstraint] =
            rest == 0 ? [] : [.either([.text(""), .repeated(next, atMost: rest)])]
        return .sequence(
            [mark(.beginCalls), one] + more + [mark(.endCalls)])
    }

    private func call(_ tool: Tool) -> OutputConstraint {
        isFenced
            ? .sequence([
                .text("function"), mark(.separator), .text("\(tool.name)\n```json\n"),
                tool.arguments, .text("\n```"),
            ])
            : .sequence([.text(tool.name), mark(.separator), tool.arguments])
    }

    /// A mark of the format: its token, or its text where the vocabulary has no such token.
    private func mark(_ token: ChatToken) -> OutputConstraint {
        guard let id = tokenizer.id(of: token.rawValue),
            let place = LazyVocabulary.markers(of: tokenizer).firstIndex(of: id)
        else { return .text(token.rawValue) }
        return .marker(place)
    }
}
