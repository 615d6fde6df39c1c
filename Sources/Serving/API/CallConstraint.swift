import Grammar
import Language

/// Calls of tools in a model's own format, as a part of a constraint: for an answer that is a call
/// or what a response format asks for.
struct CallConstraint {
    let tokenizer: Tokenizer
    /// One that a grammar can say.
    let form: CallForm

    /// One call or several, one after another.
    func calls(of tools: [Tool], atMost most: Int?) -> OutputConstraint {
        .sequence([mark(marks.first), rest(of: tools, atMost: most)])
    }

    /// The token that begins calls in a text that is otherwise free; nil where that is no token of
    /// its own.
    var trigger: Int? {
        marker(marks.first) == nil ? nil : tokenizer.id(of: marks.first)
    }

    /// What follows that token: the rest of the calls.
    func rest(of tools: [Tool], atMost most: Int?) -> OutputConstraint {
        let body = OutputConstraint.sequence([.either(tools.map(call)), mark(marks.call.end)])
        // A form without a section has a beginning for each call.
        guard let section = marks.section else { return body }
        let one = OutputConstraint.sequence([mark(marks.call.begin), body])
        // V3 begins a line with each further call.
        let next = form == .fenced ? OutputConstraint.sequence([.choice(["\n", ""]), one]) : one
        let rest = most.map { $0 - 1 }
        let more: [OutputConstraint] =
            rest == 0 ? [] : [.either([.text(""), .repeated(next, atMost: rest)])]
        return .sequence([one] + more + [mark(section.end)])
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
                .text("functions.\(tool.name):"), .regex("(0|[1-9][0-9]{0,4})"),
                separator, tool.arguments,
            ])
        case .keyed: return .sequence([.text(tool.name), members(of: tool)])
        case .bare, .marked:
            return .sequence([.text(tool.name), separator, tool.arguments])
        }
    }

    /// Keys and values between marks: those of the schema in its order, without the optional ones
    /// that the model leaves out; of a tool that declares none, any.
    private func members(of tool: Tool) -> OutputConstraint {
        // Nil is what a grammar cannot say.
        let declared = tool.isLoose ? [] : tool.members ?? []
        guard !declared.isEmpty else {
            let any = member(key: Self.anyText, value: Self.anyText)
            return tool.takesNothing && !tool.isLoose
                ? .text("") : .either([.text(""), .repeated(any, atMost: nil)])
        }
        return .named(
            "the parameters of tool \(tool.name)", parameter: "tools",
            .sequence(
                declared.map { name, value, isRequired in
                    let member = member(key: .text(name), value: value ?? Self.anyText)
                    return isRequired ? member : .either([.text(""), member])
                }))
    }

    private func member(key: OutputConstraint, value: OutputConstraint) -> OutputConstraint {
        let (begins, ends) = (CallMarks.keyMarks, CallMarks.valueMarks)
        return .sequence([
            mark(begins.begin), key, mark(begins.end), mark(ends.begin), value, mark(ends.end),
        ])
    }

    private static let anyText = OutputConstraint.regex(#"(.|\n|\t|\r)*"#)

    /// A mark of the format: its token, or its text where the vocabulary has no such token.
    private func mark(_ name: String) -> OutputConstraint {
        marker(name).map { .marker($0) } ?? .text(name)
    }

    private func marker(_ name: String) -> Int? {
        tokenizer.id(of: name).flatMap { LazyVocabulary.markers(of: tokenizer).firstIndex(of: $0) }
    }
}
