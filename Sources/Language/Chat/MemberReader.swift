import Encoding

/// What a value that is written without quotes is.
public enum ArgumentKind: Sendable, Hashable {
    /// A text.
    case text
    /// A text, unless it spells `null`.
    case textOrNull
    /// JSON.
    case json
    /// JSON where it is JSON, else a text: nobody says what it is.
    case open
}

/// Reads the arguments of a call that are written member by member, and writes them as JSON.
///
///     <arg_key>city</arg_key><arg_value>Zürich</arg_value>                         GLM
///     <｜DSML｜parameter name="city" string="true">Zürich</｜DSML｜parameter>        DeepSeek-V3.2
///     <parameter=city> LINE Zürich LINE </parameter>                               Qwen3-Coder
///     <parameter name="city">Zürich</parameter>                                    MiniMax-M2
///
/// Texts stream as they come; other values come whole, because only the whole shows whether it is
/// JSON. Inside a string of JSON the mark that ends a value ends nothing. Words between members are
/// passed over, and so is a second member of one name.
struct MemberReader {
    private enum Place {
        /// Between members.
        case between
        /// Between a key and its value.
        case afterKey(String)
        case value(ArgumentKind)
    }

    private let marks: CallMarks.Member
    private let kinds: [String: ArgumentKind]
    private let end: String
    private var place = Place.between
    private var keys: Set<String> = []
    /// Whether the member at hand has the name of an earlier one: JSON has no two of one name.
    private var isRepeated = false
    private var hasBegunText = false
    /// Whether the line break before a value is still to come.
    private var beginsLine = false
    /// What came of a value that is not a text.
    private var value = ""
    /// The strings of that value, where it is JSON.
    private var strings = StringScan()
    /// Where a mark seems to cut such a string: its strings up to so many bytes of what is held.
    private var search: (count: Int, strings: StringScan)?

    /// Longer than any name of an argument.
    private static let maximumHeadBytes = 4096

    /// - Parameters:
    ///   - marks: What stands around a member.
    ///   - kinds: What the tool's schema says of each argument.
    ///   - end: What ends the call.
    init(_ marks: CallMarks.Member, kinds: [String: ArgumentKind], end: String) {
        self.marks = marks
        self.kinds = kinds
        self.end = end
    }

    /// What may end a value: where it is a line, the line's end goes too.
    private var valueEnds: [String] {
        marks.hasLines ? ["\n" + marks.value.end, marks.value.end] : [marks.value.end]
    }

    /// One step forward.
    ///
    /// - Returns: JSON text, and whether the call has ended; nil when more text is needed.
    mutating func next(_ held: inout HeldText) -> (json: String, isEnd: Bool)? {
        switch place {
        case .between: return between(&held)
        case .afterKey(let key):
            _ = held.takeSpace()
            let mark = marks.value.begin
            if held.takePrefix(mark) { return begin(key, kinds[key] ?? .open) }
            guard !held.begins([mark]) else { return nil }
            place = .between
            return ("", false)
        case .value where beginsLine:
            guard !held.isEmpty else { return nil }
            _ = held.takePrefix("\n")
            beginsLine = false
            return ("", false)
        case .value(.text): return text(&held)
        case .value(let kind):
            guard let rest = kind == .json ? takeJSON(&held) : takeOpen(&held) else { return nil }
            place = .between
            return (isRepeated ? "" : json(value + rest, kind), false)
        }
    }

    /// The rest of a value, and its end.
    private func takeValue(_ held: inout HeldText) -> String? {
        guard let end = held.index(of: marks.value.end) else { return nil }
        let first = valueEnds[0]
        let isLine = marks.hasLines && held.index(of: first) == end - 1
        return held.take(through: isLine ? first : marks.value.end)
    }

    /// The rest of a value that may be a text, and its end.
    private mutating func takeOpen(_ held: inout HeldText) -> String? {
        if let rest = takeValue(&held) { return rest }
        value += held.release(before: valueEnds) ?? ""
        return nil
    }

    /// The rest of a value of JSON, and its end.
    ///
    /// A string that the mark seems to cut goes on if it ends before its line does.
    private mutating func takeJSON(_ held: inout HeldText) -> String? {
        while var (count, scan) = search ?? cut(in: held) {
            guard scan.isInside, !scan.isBroken else { return takeValue(&held) }
            while scan.isInside, !scan.isBroken, count < held.bytes.count {
                scan.append(held.bytes[count])
                count += 1
            }
            // More text decides.
            search = scan.isInside && !scan.isBroken ? (count, scan) : nil
            guard search == nil else { return nil }
            guard !scan.isBroken else { return takeValue(&held) }
            keep(held.take(count))
        }
        keep(held.release(before: valueEnds) ?? "")
        return nil
    }

    /// Where the mark that ends a value begins, and the value's strings up to there.
    private func cut(in held: HeldText) -> (count: Int, strings: StringScan)? {
        guard let end = held.index(of: marks.value.end) else { return nil }
        var scan = strings
        for byte in held.bytes[..<end] { scan.append(byte) }
        return (end, scan)
    }

    private mutating func keep(_ text: String) {
        for byte in text.utf8 { strings.append(byte) }
        value += text
    }

    private mutating func between(_ held: inout HeldText) -> (json: String, isEnd: Bool)? {
        let starts = [marks.key.begin, end]
        let places = starts.compactMap { held.index(of: $0) }
        guard let first = places.min() else {
            _ = held.release(before: starts)
            return nil
        }
        _ = held.take(first)
        if held.takePrefix(end) { return (keys.isEmpty ? "{}" : "}", true) }
        guard let head = head(&held, marks.key.begin, marks.key.end) else { return nil }
        guard marks.value.begin.isEmpty else {
            place = .afterKey(head)
            return ("", false)
        }
        let key = String(decoding: head.utf8.prefix { $0 != UInt8(ascii: "\"") }, as: UTF8.self)
        guard marks.saysKind else { return begin(key, kinds[key] ?? .open) }
        let isText = !head.utf8.contains("string=\"false\"".utf8)
        return begin(key, isText ? .text : .json)
    }

    /// What stands between two marks, the first of which is there; nil while the second is missing.
    private func head(_ held: inout HeldText, _ begin: String, _ end: String) -> String? {
        var rest = held
        _ = rest.takePrefix(begin)
        if let words = rest.take(through: end) {
            held = rest
            return words
        }
        // What is too long for a name is none: it is passed over.
        if rest.bytes.count > Self.maximumHeadBytes { held = rest }
        return nil
    }

    private mutating func begin(_ key: String, _ kind: ArgumentKind) -> (String, Bool) {
        place = .value(kind)
        hasBegunText = false
        beginsLine = marks.hasLines
        value = ""
        strings = StringScan()
        search = nil
        let start = keys.isEmpty ? "{" : ", "
        isRepeated = !keys.insert(key).inserted
        return (isRepeated ? "" : start + JSONValue.quoted(key) + ": ", false)
    }

    private mutating func text(_ held: inout HeldText) -> (json: String, isEnd: Bool)? {
        let quote = hasBegunText ? "" : "\""
        if let rest = takeValue(&held) {
            place = .between
            return (isRepeated ? "" : quote + Self.escaped(rest) + "\"", false)
        }
        guard let part = held.release(before: valueEnds) else { return nil }
        hasBegunText = true
        return (isRepeated ? "" : quote + Self.escaped(part), false)
    }

    private static func escaped(_ text: String) -> String {
        // Bytes: a text that begins with a combining character joins the quote before it.
        String(decoding: JSONValue.quoted(text).utf8.dropFirst().dropLast(), as: UTF8.self)
    }

    private func json(_ text: String, _ kind: ArgumentKind) -> String {
        let quoted = JSONValue.quoted(text)
        guard let value = marks.value(of: text) else { return quoted }
        switch kind {
        case .textOrNull where !value.isNull, .text: return quoted
        case .textOrNull, .json, .open: return value.text
        }
    }
}

extension CallMarks.Member {
    /// The value of a text that is JSON, else nil.
    fileprivate func value(of text: String) -> JSONValue? {
        // Qwen3-Coder's template writes such values as Python does.
        if hasLines, let value = Self.constants[text] { return value }
        do { return try JSONValue.parse(text) } catch { return nil }
    }

    private static let constants: [String: JSONValue] = [
        "True": .bool(true), "False": .bool(false), "None": .null,
    ]
}

extension CallForm {
    /// Whether a value that may be JSON or text is read as JSON where it is this text.
    package func readsAsJSON(_ text: String) -> Bool {
        CallMarks.member(of: self)?.value(of: text) != nil
    }
}
