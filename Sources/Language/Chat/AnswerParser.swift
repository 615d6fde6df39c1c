/// Splits an answer, as it arrives, into thought, content and tool calls.
///
/// A call shows with its name as soon as its arguments begin, and the arguments as they come. What
/// is not a call in the model's own form stays content: another family's form is never guessed.
public struct AnswerParser {
    /// A piece of an answer.
    public enum Piece: Hashable, Sendable {
        case reasoning(String)
        case content(String)
        /// A call of the function `name`; its arguments follow.
        case call(name: String)
        /// More of the arguments of the call that began last: an object of JSON, in pieces.
        case arguments(String)
        /// The call that began last is whole.
        case callEnds
    }

    private enum Place {
        case reasoning, content, betweenCalls, head, arguments, object, members, done
    }

    private var place: Place
    private let form: CallForm?
    private let marks: CallMarks?
    private let kinds: [String: [String: ArgumentKind]]
    private var members: MemberReader?
    private var scan = ObjectScan()
    private var isScanned = false
    private var callsLeft: Int
    private var held = HeldText()
    private var hasContent = false
    /// What the model wrote of the section and the call at hand, as long as it is not returned.
    private var written = ""
    private var isFenced = false
    private var hasArguments = false

    private static let beginThinking = ChatToken.beginThinking.rawValue
    private static let endThinking = ChatToken.endThinking.rawValue

    /// - Parameters:
    ///   - beginsThinking: Whether the prompt ends inside a thought.
    ///   - calls: The form of the model's calls; nil for a request without tools, whose calls stay
    ///     text.
    ///   - callLimit: Calls after which the answer is over.
    ///   - kinds: What the arguments of each tool are, for forms that write them without quotes;
    ///     the call of another name is no call. Of none, every name is one.
    public init(
        beginsThinking: Bool, calls: CallForm?, callLimit: Int = .max,
        kinds: [String: [String: ArgumentKind]] = [:]
    ) {
        place = beginsThinking ? .reasoning : .content
        form = calls
        marks = calls.map { CallMarks($0) }
        callsLeft = callLimit
        self.kinds = kinds
    }

    /// Whether as many calls as the limit allows are whole: nothing comes after them.
    public var isDone: Bool { place == .done }

    /// Whether a call has begun and is not whole.
    public var isInCall: Bool { place == .head || isInArguments }

    private var isInArguments: Bool { [.arguments, .object, .members].contains(place) }

    /// What the model wrote of a call that is not whole, once its arguments have begun.
    public var openCall: String? { isInArguments ? written + held.text : nil }

    /// The pieces that became certain with more text.
    public mutating func append(_ text: String) -> [Piece] {
        held.append(text)
        var pieces: [Piece] = []
        while let piece = next() { pieces += piece }
        return pieces
    }

    /// The rest, when no more text comes.
    ///
    /// A call that was cut before its arguments began is content; one that was cut in them is
    /// `openCall`, and nothing of it comes out that could make it look whole.
    public mutating func finish() -> [Piece] {
        switch place {
        case .reasoning:
            let rest = held.takeAll()
            return rest.isEmpty ? [] : [.reasoning(rest)]
        case .content, .head, .betweenCalls: return content(written + held.takeAll())
        case .arguments, .object, .members, .done: return []
        }
    }

    /// One step forward: pieces, or nil when more text is needed.
    private mutating func next() -> [Piece]? {
        guard !held.isEmpty else { return nil }
        switch place {
        case .reasoning: return readReasoning()
        case .content: return readContent()
        case .betweenCalls: return readBetweenCalls()
        case .head: return readHead()
        case .arguments: return readArguments()
        case .object: return readObject()
        case .members: return readMembers()
        case .done:
            _ = held.takeAll()
            return nil
        }
    }

    private mutating func readReasoning() -> [Piece]? {
        guard let before = held.take(through: Self.endThinking) else {
            return held.release(before: [Self.endThinking]).map { [.reasoning($0)] }
        }
        place = .content
        return before.isEmpty ? [] : [.reasoning(before)]
    }

    private mutating func readContent() -> [Piece]? {
        // Line breaks before the first words are no content, and a thought may come after them.
        while !hasContent, held.takePrefix("\n") {}
        guard !held.isEmpty else { return nil }
        if !hasContent, held.takePrefix(Self.beginThinking) {
            place = .reasoning
            return []
        }
        if let marks, let before = take(throughFirst: marks) {
            hasArguments = false
            place = marks.section == nil ? .head : .betweenCalls
            written = marks.first
            return content(before)
        }
        var starts = marks.map { [$0.first, $0.space + $0.first] } ?? []
        if !hasContent { starts.append(Self.beginThinking) }
        return held.release(before: starts).map { content($0) }
    }

    /// What stands before the first call, without the space that belongs to it.
    private mutating func take(throughFirst marks: CallMarks) -> String? {
        guard let before = held.take(through: marks.first) else { return nil }
        guard before.hasSuffix(marks.space) else { return before }
        return String(before.dropLast(marks.space.count))
    }

    private mutating func readBetweenCalls() -> [Piece]? {
        guard let marks, let section = marks.section else {
            // Space between two calls is no content.
            held.dropSpace()
            guard !held.isEmpty else { return nil }
            place = .content
            return []
        }
        held.dropSpace()
        if held.takePrefix(marks.call.begin) {
            written += marks.call.begin
            hasArguments = false
            place = .head
            return []
        }
        if held.takePrefix(section.end) {
            place = .content
            written = ""
            return []
        }
        guard !held.begins([marks.call.begin, section.end]) else { return nil }
        // Words where a call should stand: this is no section of calls.
        place = .content
        defer { written = "" }
        return content(written)
    }

    /// Reads what stands before the arguments, and decides whether this is a call.
    private mutating func readHead() -> [Piece]? {
        guard let marks else { return nil }
        let end = held.index(of: marks.call.end)
        var head = form?.head(
            of: held.bytes.prefix(end ?? held.bytes.count), isWhole: end != nil)
        if case .call(let name, _, _) = head, !kinds.isEmpty, kinds[name] == nil { head = .other }
        switch head {
        case .unfinished where held.bytes.count <= Self.maximumHeadBytes: return nil
        case .unfinished: return leaveHead()
        case .other where marks.section == nil: return leaveHead()
        case .call(let name, let count, let isFenced):
            written += held.take(count)
            place = marks.separator == nil ? .object : .arguments
            (scan, isScanned) = (ObjectScan(), false)
            if let around = form.flatMap({ CallMarks.member(of: $0) }) {
                place = .members
                members = MemberReader(around, kinds: kinds[name] ?? [:], end: marks.call.end)
            }
            self.isFenced = isFenced
            return [.call(name: name)]
        case .other, nil:
            guard let body = held.take(through: marks.call.end) else { return nil }
            place = .betweenCalls
            defer { written = "" }
            return content(written + body + marks.call.end)
        }
    }

    /// Longer than any name of a function.
    private static let maximumHeadBytes = 4096

    /// Takes what was read of a call for words.
    private mutating func leaveHead() -> [Piece] {
        place = .content
        defer { written = "" }
        return content(written)
    }

    private mutating func readArguments() -> [Piece]? {
        guard let marks else { return nil }
        guard let rest = held.take(through: marks.call.end) else {
            // The last character waits, so that arguments without their end are no whole object.
            guard let text = held.release(before: [marks.call.end], keepsEnd: true) else {
                return nil
            }
            written += text
            hasArguments = true
            return [.arguments(text)]
        }
        var arguments = Self.trimmed(rest[...])
        if isFenced, arguments.hasSuffix("```") { arguments = Self.trimmed(arguments.dropLast(3)) }
        endCall()
        if arguments.isEmpty, !hasArguments { arguments = "{}" }
        return (arguments.isEmpty ? [] : [.arguments(String(arguments))]) + [.callEnds]
    }

    /// Reads arguments inside an object; the last bracket waits for the mark that ends the call.
    ///
    /// Before that mark only the object of the call may end: with more there, the call has no end.
    private mutating func readObject() -> [Piece]? {
        guard let marks else { return nil }
        guard !isScanned else {
            guard let end = held.index(of: marks.call.end) else { return nil }
            let ends = held.bytes[..<end].filter { !CallForm.isSpace($0) }
            guard ends.elementsEqual("}}".utf8) else { return nil }
            _ = held.take(through: marks.call.end)
            endCall()
            return [.arguments("}"), .callEnds]
        }
        let end = scan.end(in: held.bytes)
        isScanned = end != nil
        guard let text = held.release(end.map { $0 - 1 }) else { return end == nil ? nil : [] }
        written += text
        return [.arguments(text)]
    }

    private mutating func readMembers() -> [Piece]? {
        let before = held
        let step = members?.next(&held)
        let taken = before.bytes.count - held.bytes.count
        written += String(decoding: before.bytes.prefix(taken), as: UTF8.self)
        guard let (json, isEnd) = step else { return nil }
        if isEnd { endCall() }
        return (json.isEmpty ? [] : [.arguments(json)]) + (isEnd ? [.callEnds] : [])
    }

    private mutating func endCall() {
        callsLeft -= 1
        place = callsLeft > 0 ? .betweenCalls : .done
        written = ""
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }

    /// Content, without the blank lines that separate it from a thought.
    private mutating func content(_ text: String) -> [Piece] {
        let text = hasContent ? Substring(text) : text.drop { $0 == "\n" }
        guard !text.isEmpty else { return [] }
        hasContent = true
        return [.content(String(text))]
    }
}
