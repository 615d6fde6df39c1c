import Encoding
import Grammar
import Language

/// Calls of tools in a model's own format, as a part of a constraint: for an answer that is a call
/// or what a response format asks for.
struct CallConstraint {
    let tokenizer: Tokenizer
    let form: CallForm

    /// One call or several, one after another.
    func calls(of tools: [Tool], atMost most: Int?) -> OutputConstraint {
        if form == .channeled { return channeledCall(of: tools) }
        let calls = OutputConstraint.sequence([mark(marks.first), rest(of: tools, atMost: most)])
        guard marks.section == nil, most != 1 else { return calls }
        // Without a section these are one call, and a line break comes before the next one.
        return .repeated(.sequence([calls, line]), atMost: most)
    }

    /// The token that begins calls in a text that is otherwise free; nil where that is no token of
    /// its own.
    var trigger: Int? {
        marker(form.trigger) == nil ? nil : tokenizer.id(of: form.trigger)
    }

    /// What follows that token: the rest of the calls.
    func rest(of tools: [Tool], atMost most: Int?) -> OutputConstraint {
        if form == .channeled { return message(of: tools) }
        let body = OutputConstraint.sequence([.either(tools.map(call)), mark(marks.call.end)])
        // A form without a section has a beginning for each call.
        guard let section = marks.section else { return body }
        let one = OutputConstraint.sequence([mark(marks.call.begin), body] + lineEnd)
        // V3 begins a line with each further call.
        let next = form == .fenced ? OutputConstraint.sequence([.choice(["\n", ""]), one]) : one
        let rest = most.map { $0 - 1 }
        let more: [OutputConstraint] =
            rest == 0 ? [] : [.either([.text(""), .repeated(next, atMost: rest)])]
        return .sequence(start + [one] + more + [mark(section.end)])
    }

    /// What stands between the trigger and the first call.
    private var start: [OutputConstraint] {
        switch form {
        case .marked: [.text("function_calls>\n")]
        case .invoked: lineEnd
        case .fenced, .bare, .numbered, .keyed, .object, .tagged, .channeled: []
        }
    }

    /// What ends the line of a call.
    private var lineEnd: [OutputConstraint] {
        form == .marked || form == .invoked ? [.text("\n")] : []
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
        case .object:
            return .sequence([
                .text(CallForm.objectStart(JSONValue.quoted(tool.name))), tool.arguments,
                .text("}\n"),
            ])
        case .keyed: return .sequence([.text(tool.name), line, members(of: tool)])
        case .tagged:
            return .sequence([
                .text("\n<function=\(tool.name)>\n"), members(of: tool), .text("</function>\n"),
            ])
        case .marked, .invoked:
            return .sequence([.text(" name=\"\(tool.name)\">\n"), members(of: tool)])
        case .bare, .channeled:
            return .sequence([.text(tool.name), separator, tool.arguments])
        }
    }

    /// A line break that models write or leave out, as GLM-4.5 and its successors.
    private var line: OutputConstraint { .choice(["", "\n"]) }

    /// Arguments between marks: those of the schema in its order, without the optional ones that
    /// the model leaves out; of a tool that declares none, any.
    private func members(of tool: Tool) -> OutputConstraint {
        // Nil is what a grammar cannot say.
        let declared = tool.isLoose ? [] : tool.members ?? []
        guard !declared.isEmpty else {
            let any = text(of: Tool.Member(name: "", kind: .open), key: anyKey)
            guard tool.takesNothing, !tool.isLoose else {
                return .either([.text(""), .repeated(any, atMost: nil)])
            }
            // DeepSeek-V3.2's own code writes an empty line where there are no arguments.
            return form == .marked ? line : .text("")
        }
        return .named(
            "the parameters of tool \(tool.name)", parameter: "tools",
            .sequence(
                declared.map { member in
                    let text = text(of: member, key: .text(member.name))
                    return member.isRequired ? text : .either([.text(""), text])
                }))
    }

    private func text(of member: Tool.Member, key: OutputConstraint) -> OutputConstraint {
        guard let around = CallMarks.member(of: form) else { return anyText }
        switch form {
        case .marked:
            let words = member.words.isEmpty ? anyText : .choice(member.words)
            let text = parameter(key, "true", words)
            switch member.kind {
            case .text: return text
            case .json: return parameter(key, "false", member.json ?? anyText)
            case .textOrNull: return .either([text, parameter(key, "false", .text("null"))])
            case .open:
                return .either([text, parameter(key, "false", member.json ?? .jsonSchema("{}"))])
            }
        case .tagged, .invoked:
            let end = form == .tagged ? ">\n" : "\">"
            let line = around.hasLines ? "\n" : ""
            return .sequence([
                .text(around.key.begin), key, .text(end), value(of: member),
                .text(line + around.value.end + "\n"),
            ])
        default:
            return .sequence([
                mark(around.key.begin), key, mark(around.key.end), line, mark(around.value.begin),
                value(of: member), mark(around.value.end), line,
            ])
        }
    }

    /// A value that does not say itself whether it is text.
    private func value(of member: Tool.Member) -> OutputConstraint {
        switch member.kind {
        case .json: return member.json ?? anyText
        case .text: return member.words.isEmpty ? anyText : .choice(member.words)
        case .textOrNull:
            let others = member.words.filter { $0 != "null" }
            return member.words.isEmpty ? anyText : .choice(others + ["null"])
        case .open:
            guard let json = member.json else { return anyText }
            // What reads as JSON is none of the texts.
            let texts = member.words.filter { !form.readsAsJSON($0) }
            return texts.isEmpty ? json : .either([.choice(texts), json])
        }
    }

    /// A member in DeepSeek-V3.2's form.
    private func parameter(
        _ key: OutputConstraint, _ isText: String, _ value: OutputConstraint
    ) -> OutputConstraint {
        let (begin, end) = (
            CallMarks.member(of: form)?.key.begin ?? "",
            CallMarks.member(of: form)?.value.end ?? ""
        )
        return .sequence([
            mark(begin), key, .text("\" string=\"\(isText)\">"), value, mark(end), .text("\n"),
        ])
    }

    /// A name, where none is declared.
    private var anyKey: OutputConstraint {
        guard form == .keyed, let around = CallMarks.member(of: form) else {
            return .regex(#"[^<>"\n\r\t ]+"#)
        }
        return .regex(Self.pattern(without: around.key.end))
    }

    /// A text that does not hold what ends it: the words of that mark end a value even where the
    /// mark is a token of its own.
    var anyText: OutputConstraint {
        guard let around = CallMarks.member(of: form) else {
            return .regex(#"(.|\n|\t|\r)*"#)
        }
        return .regex(Self.pattern(without: around.value.end))
    }

    /// The texts that do not hold a mark, whose first character it has once.
    ///
    /// After the first character of the mark comes its next one, or another one up to where the
    /// mark may begin anew; never its last one.
    private static func pattern(without mark: String) -> String {
        let letters = Array(mark)
        let first = letters[0]
        // A negated class holds neither control characters nor ends of lines.
        func other(than letters: String) -> String {
            "([^\(letters)]|[\\x00-\\x1f\\x7f\\u2028\\u2029])"
        }
        let rest = other(than: "\(first)") + "*"
        var tail = "(\(other(than: "\(first)\(letters[letters.count - 1])"))\(rest))?"
        for letter in letters.dropFirst().dropLast().reversed() {
            tail = "(\(other(than: "\(first)\(letter)"))\(rest)|\(letter)\(tail))?"
        }
        return "\(rest)(\(first)\(tail))*"
    }

    /// A mark of the format: its token, or its text where the vocabulary has no such token, or
    /// the token inside it and the text around that.
    func mark(_ name: String) -> OutputConstraint {
        if let marker = marker(name) { return .marker(marker) }
        let inner = form.trigger
        guard form == .marked, let range = name.firstRange(of: inner), let marker = marker(inner)
        else { return .text(name) }
        return .sequence([
            .text(String(name[..<range.lowerBound])), .marker(marker),
            .text(String(name[range.upperBound...])),
        ])
    }

    private func marker(_ name: String) -> Int? {
        tokenizer.id(of: name).flatMap { LazyVocabulary.markers(of: tokenizer).firstIndex(of: $0) }
    }
}
