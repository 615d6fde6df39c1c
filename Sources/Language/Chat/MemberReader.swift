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
///
/// Texts stream as they come; other values come whole, because only the whole shows whether it is
/// JSON. Words between members are passed over, and so is a second member of one name.
struct MemberReader {
    private enum Place {
        /// Between members.
        case between
        /// Between a key and its value.
        case afterKey(String)
        case value(ArgumentKind)
    }

    private let form: CallForm
    private let kinds: [String: ArgumentKind]
    private let end: String
    private var place = Place.between
    private var keys: Set<String> = []
    /// Whether the member at hand has the name of an earlier one: JSON has no two of one name.
    private var isRepeated = false
    private var hasBegunText = false
    /// What came of a value that is not a text.
    private var value = ""

    /// Longer than any name of an argument.
    private static let maximumHeadBytes = 4096

    private static let mark = V32Writer.mark
    private static let parameter = "<\(mark)parameter name=\""

    /// - Parameters:
    ///   - kinds: What the tool's schema says of each argument.
    ///   - end: What ends the call.
    init(_ form: CallForm, kinds: [String: ArgumentKind], end: String) {
        self.form = form
        self.kinds = kinds
        self.end = end
    }

    private var keyBegin: String {
        form == .keyed ? GLMToken.beginKey.rawValue : Self.parameter
    }

    private var valueEnd: String {
        form == .keyed ? GLMToken.endValue.rawValue : "</\(Self.mark)parameter>"
    }

    /// One step forward.
    ///
    /// - Returns: JSON text, and whether the call has ended; nil when more text is needed.
    mutating func next(_ held: inout HeldText) -> (json: String, isEnd: Bool)? {
        switch place {
        case .between: return between(&held)
        case .afterKey(let key):
            held.dropSpace()
            let mark = GLMToken.beginValue.rawValue
            if held.takePrefix(mark) { return begin(key, kinds[key] ?? .open) }
            guard !held.begins([mark]) else { return nil }
            place = .between
            return ("", false)
        case .value(.text): return text(&held)
        case .value(let kind):
            guard let rest = held.take(through: valueEnd) else {
                value += held.release(before: [valueEnd]) ?? ""
                return nil
            }
            place = .between
            return (isRepeated ? "" : Self.json(value + rest, kind), false)
        }
    }

    private mutating func between(_ held: inout HeldText) -> (json: String, isEnd: Bool)? {
        let starts = [keyBegin, end]
        let places = starts.compactMap { held.index(of: $0) }
        guard let first = places.min() else {
            _ = held.release(before: starts)
            return nil
        }
        _ = held.take(first)
        if held.takePrefix(end) { return (keys.isEmpty ? "{}" : "}", true) }
        if form == .keyed {
            guard let key = head(&held, GLMToken.beginKey.rawValue, GLMToken.endKey.rawValue)
            else { return nil }
            place = .afterKey(key)
            return ("", false)
        }
        guard let head = head(&held, Self.parameter, ">") else { return nil }
        let words = head.split(separator: "\"", omittingEmptySubsequences: false)
        let key = words.first.map(String.init) ?? ""
        let isText = !head.contains("string=\"false\"")
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
        value = ""
        let start = keys.isEmpty ? "{" : ", "
        isRepeated = !keys.insert(key).inserted
        return (isRepeated ? "" : start + JSONValue.quoted(key) + ": ", false)
    }

    private mutating func text(_ held: inout HeldText) -> (json: String, isEnd: Bool)? {
        let quote = hasBegunText ? "" : "\""
        if let rest = held.take(through: valueEnd) {
            place = .between
            return (isRepeated ? "" : quote + Self.escaped(rest) + "\"", false)
        }
        guard let part = held.release(before: [valueEnd]) else { return nil }
        hasBegunText = true
        return (isRepeated ? "" : quote + Self.escaped(part), false)
    }

    private static func escaped(_ text: String) -> String {
        String(JSONValue.quoted(text).dropFirst().dropLast())
    }

    private static func json(_ text: String, _ kind: ArgumentKind) -> String {
        do {
            let value = try JSONValue.parse(text)
            switch kind {
            case .textOrNull where !value.isNull, .text: break
            case .textOrNull, .json, .open: return value.text
            }
        } catch { return JSONValue.quoted(text) }
        return JSONValue.quoted(text)
    }
}
