import Encoding

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
        case reasoning, content, betweenCalls, head, object, members, done
        /// In a call that is none, up to its end.
        case otherCall
        /// After a call that went wrong when its arguments had begun.
        case brokenCall
    }

    private var place: Place
    private let form: CallForm?
    private let marks: CallMarks?
    private let kinds: [String: [String: ArgumentKind]]
    private var members: MemberReader?
    private var scan = ObjectScan()
    private var isScanned = false
    /// What may stand between an object and the mark that ends the call, and whether it must.
    private var closing: (word: String, isNeeded: Bool)?
    private var callsLeft: Int
    private var held = HeldText()
    private var hasContent = false
    /// Whether a thought may begin: only one does, before any word and any call.
    private var mayThink = true
    /// Whether the section at hand gave a call.
    private var hasCalls = false
    /// What the model wrote of the section and the call at hand, as long as it is not returned.
    private var written = ""
    /// What came of the arguments of the call at hand, where they are an object.
    private var arguments = ""
    /// Reads the answer instead, where it is messages in channels.
    private var channels: ChannelReader?

    private static let beginThinking = ChatToken.beginThinking.rawValue
    private static let endThinking = ChatToken.endThinking.rawValue

    /// - Parameters:
    ///   - beginsThinking: Whether the prompt ends inside a thought.
    ///   - calls: The form of the model's calls; nil for a request without tools, whose calls stay
    ///     text.
    ///   - callLimit: Calls after which the answer is over.
    ///   - kinds: What the arguments of each tool are, for forms that write them without quotes;
    ///     the call of another name is no call. Of none, every name is one.
    ///   - channels: Where an answer of messages in channels begins; nil for any other answer.
    public init(
        beginsThinking: Bool, calls: CallForm?, callLimit: Int = .max,
        kinds: [String: [String: ArgumentKind]] = [:], channels: ChannelStart? = nil
    ) {
        place = beginsThinking ? .reasoning : .content
        form = calls
        marks = calls.map { CallMarks($0) }
        callsLeft = callLimit
        self.kinds = kinds
        self.channels = channels.map {
            ChannelReader(
                $0, functions: calls == nil ? .none : .some(Set(kinds.keys)), callLimit: callLimit)
        }
    }

    /// Whether as many calls as the limit allows are whole: nothing comes after them.
    public var isDone: Bool { channels?.isDone ?? (place == .done) }

    /// Whether a call has begun and is not whole.
    public var isInCall: Bool {
        channels?.isInCall ?? (place == .head || place == .otherCall || isInArguments)
    }

    private var isInArguments: Bool { [.object, .members, .brokenCall].contains(place) }

    /// What the model wrote of a call that is not whole, once its arguments have begun.
    public var openCall: String? {
        if let channels { return channels.openCall }
        return isInArguments ? written + held.text : nil
    }

    /// The pieces that became certain with more text.
    public mutating func append(_ text: String) -> [Piece] {
        if channels != nil { return channels?.append(text) ?? [] }
        held.append(text)
        var pieces: [Piece] = []
        while let piece = next() { pieces += piece }
        return pieces
    }

    /// The rest, when no more text comes.
    ///
    /// A call that was cut before its arguments began is content; one that was cut in them, or
    /// whose arguments are no object, is `openCall`, and nothing of it comes out that could make it
    /// look whole.
    ///
    /// - Parameter isEnd: Whether the model ended the text, which in channels may end a call.
    public mutating func finish(isEnd: Bool = false) -> [Piece] {
        if channels != nil { return channels?.finish(isEnd: isEnd) ?? [] }
        switch place {
        case .reasoning:
            let rest = held.takeAll()
            return rest.isEmpty ? [] : [.reasoning(rest)]
        case .content, .head, .betweenCalls, .otherCall:
            return content(written + held.takeAll())
        case .object, .members, .brokenCall, .done: return []
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
        case .otherCall: return readOtherCall()
        case .object: return readObject()
        case .members: return readMembers()
        case .brokenCall:
            written += held.takeAll()
            return nil
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
        mayThink = false
        return before.isEmpty ? [] : [.reasoning(before)]
    }

    private mutating func readContent() -> [Piece]? {
        // Line breaks before the first words are no content, and a thought may come after them.
        while !hasContent, held.takePrefix("\n") {}
        guard !held.isEmpty else { return nil }
        if mayThink, held.takePrefix(Self.beginThinking) {
            place = .reasoning
            return []
        }
        if let marks, let before = held.take(through: marks.first) {
            mayThink = false
            hasCalls = false
            place = marks.section == nil ? .head : .betweenCalls
            let words = before.without(ending: marks.space)
            // The space before a call is no content, unless this is no call.
            written = (words == nil ? "" : marks.space) + marks.first
            return content(words ?? before)
        }
        var starts = marks.map { [$0.first, $0.space + $0.first] } ?? []
        if mayThink { starts.append(Self.beginThinking) }
        return held.release(before: starts).map { content($0) }
    }

    private mutating func readBetweenCalls() -> [Piece]? {
        guard let marks, let section = marks.section else {
            // Space between two calls is no content.
            _ = held.takeSpace()
            guard !held.isEmpty else { return nil }
            place = .content
            return []
        }
        let space = held.takeSpace()
        // Of a section without calls every word is content.
        if !hasCalls { written += space }
        if held.takePrefix(marks.call.begin) {
            written += marks.call.begin
            place = .head
            return []
        }
        if held.takePrefix(section.end) {
            place = .content
            defer { written = "" }
            return hasCalls ? [] : content(written + section.end)
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
            return begin(name, marks, isFenced: isFenced)
        case .other, nil:
            place = .otherCall
            defer { written = "" }
            return content(written)
        }
    }

    private mutating func begin(_ name: String, _ marks: CallMarks, isFenced: Bool) -> [Piece] {
        if let around = form.flatMap({ CallMarks.member(of: $0) }) {
            place = .members
            members = MemberReader(around, kinds: kinds[name] ?? [:], end: marks.call.end)
            return [.call(name: name)]
        }
        guard held.bytes.first == UInt8(ascii: "{") else {
            // The call is whole, without arguments.
            _ = held.take(through: marks.call.end)
            endCall()
            return [.call(name: name), .arguments("{}"), .callEnds]
        }
        place = .object
        (scan, isScanned, arguments) = (ObjectScan(), false, "")
        closing = marks.separator == nil ? ("}", true) : isFenced ? ("```", false) : nil
        return [.call(name: name)]
    }

    private mutating func readOtherCall() -> [Piece]? {
        guard let marks else { return nil }
        guard let body = held.take(through: marks.call.end) else {
            return held.release(before: [marks.call.end]).map { content($0) }
        }
        place = .betweenCalls
        return content(body + marks.call.end)
    }

    /// Longer than any name of a function.
    private static let maximumHeadBytes = 4096

    /// Takes what was read of a call for words.
    private mutating func leaveHead() -> [Piece] {
        place = .content
        defer { written = "" }
        return content(written)
    }

    /// Reads an object of arguments, whose last bracket waits for the mark that ends the call.
    private mutating func readObject() -> [Piece]? {
        guard let marks else { return nil }
        guard !isScanned else { return readEnd(marks) }
        let end = scan.end(in: held.bytes)
        let text = held.take(end.map { $0 - 1 } ?? held.bytes.count)
        written += text
        arguments += text
        if end != nil {
            isScanned = true
            let last = held.take(1)
            written += last
            if !Self.isObject(arguments + last) { place = .brokenCall }
        }
        return text.isEmpty ? [] : [.arguments(text)]
    }

    /// Reads what stands between an object and the mark that ends the call: with anything else
    /// there, the call has no end.
    private mutating func readEnd(_ marks: CallMarks) -> [Piece]? {
        written += held.takeSpace()
        if let word = closing?.word, held.takePrefix(word) {
            written += word
            closing = nil
            return []
        }
        let mayEnd = closing?.isNeeded != true
        if mayEnd, held.takePrefix(marks.call.end) {
            endCall()
            return [.arguments("}"), .callEnds]
        }
        let ends = [closing?.word, mayEnd ? marks.call.end : nil].compactMap { $0 }
        guard !held.begins(ends) else { return nil }
        place = .brokenCall
        return []
    }

    private static func isObject(_ text: String) -> Bool {
        do { return try JSONValue.parse(text).object != nil } catch { return false }
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
        hasCalls = true
        written = ""
    }

    /// Content, without the blank lines that separate it from a thought.
    private mutating func content(_ text: String) -> [Piece] {
        let text = hasContent ? Substring(text) : text.drop { $0 == "\n" }
        guard !text.isEmpty else { return [] }
        hasContent = true
        mayThink = false
        return [.content(String(text))]
    }
}
