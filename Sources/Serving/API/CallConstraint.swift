import Grammar
import Language

/// Calls of tools in a model's own format, as a part of a constraint: for an answer that is a call
/// or what a response format asks for.
struct CallConstraint {
    let tokenizer: Tokenizer
    /// One whose arguments are JSON.
    let form: CallForm

    /// Calls of the conversation before this answer.
    let earlierCalls: Int

    /// Numbers that a call may have: more than any answer has calls.
    private var numbers: [String] { (earlierCalls ..< earlierCalls + 128).map(String.init) }

    /// One call or several, one after another.
    func calls(of tools: [Tool], atMost most: Int?) -> OutputConstraint {
        let one = OutputConstraint.sequence([
            mark(marks.call.begin), .either(tools.map(call)), mark(marks.call.end),
        ])
        // V3 begins a line with each further call.
        let next = form == .fenced ? OutputConstraint.sequence([.choice(["\n", ""]), one]) : one
        let rest = most.map { $0 - 1 }
        let more: [OutputConstraint] =
            rest == 0 ? [] : [.either([.text(""), .repeated(next, atMost: rest)])]
        guard let section = marks.section else { return .sequence([one] + more) }
        return .sequence([mark(section.begin), one] + more + [mark(section.end)])
    }

    private var marks: CallMarks { CallMarks(form) }

    private func call(_ tool: Tool) -> OutputConstraint {
        let separator = mark(marks.separator ?? "")
        switch form {
        case .fenced:
            return .sequence([
                .text("function"), separator, .text("\(tool.name)\n```json\n"),
                tool.arguments, .text("\n```"),
            ])
        case .numbered:
            return .sequence([
                .text("functions.\(tool.name):"), .choice(numbers), separator, tool.arguments,
            ])
        case .bare, .keyed, .marked:
            return .sequence([.text(tool.name), separator, tool.arguments])
        }
    }

    /// A mark of the format: its token, or its text where the vocabulary has no such token.
    private func mark(_ name: String) -> OutputConstraint {
        guard let id = tokenizer.id(of: name),
            let place = LazyVocabulary.markers(of: tokenizer).firstIndex(of: id)
        else { return .text(name) }
        return .marker(place)
    }
}
