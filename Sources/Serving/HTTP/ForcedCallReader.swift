import Encoding
import Language

/// Reads `{"name": NAME, "arguments": OBJECT}` as it arrives, which a constraint makes the model
/// write when it must call one of several functions.
struct ForcedCallReader {
    private enum Place: Equatable {
        case head
        /// Inside the arguments, so many brackets deep.
        case arguments(depth: Int, inString: Bool, escaped: Bool)
        case whole
    }

    private var place = Place.head
    private var bytes: [UInt8] = []
    /// How much of `bytes` was returned or stands before the arguments.
    private var sentCount = 0

    /// Everything that arrived.
    var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Whether the arguments ended.
    var isWhole: Bool { place == .whole }

    mutating func append(_ text: String) -> [AnswerParser.Piece] {
        bytes += text.utf8
        var pieces: [AnswerParser.Piece] = []
        if place == .head, let (name, start) = head() {
            pieces.append(.call(name: name))
            sentCount = start
            place = .arguments(depth: 0, inString: false, escaped: false)
        }
        guard place != .head, place != .whole else { return pieces }
        let end = scan()
        if end > sentCount {
            pieces.append(.arguments(String(decoding: bytes[sentCount ..< end], as: UTF8.self)))
        }
        sentCount = end
        if place == .whole { pieces.append(.callEnds) }
        return pieces
    }

    /// The name, and where the arguments begin, once both are there.
    private func head() -> (String, Int)? {
        var index = 0
        guard take("{", &index), take("\"name\"", &index), take(":", &index) else { return nil }
        skipSpace(&index)
        guard let end = stringEnd(index) else { return nil }
        let literal = String(decoding: bytes[index ..< end], as: UTF8.self)
        index = end
        guard take(",", &index), take("\"arguments\"", &index), take(":", &index) else {
            return nil
        }
        skipSpace(&index)
        guard index < bytes.count else { return nil }
        do {
            return try JSONValue.parse(literal).string.map { ($0, index) }
        } catch { return nil }
    }

    /// Goes on through the arguments; where they end, or where the bytes do.
    private mutating func scan() -> Int {
        guard case .arguments(var depth, var inString, var escaped) = place else {
            return sentCount
        }
        for index in sentCount ..< bytes.count {
            let byte = bytes[index]
            if inString {
                if escaped {
                    escaped = false
                } else if byte == UInt8(ascii: "\\") {
                    escaped = true
                } else if byte == UInt8(ascii: "\"") {
                    inString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): inString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                guard depth > 0 else {
                    place = .whole
                    return index + 1
                }
            default: break
            }
        }
        place = .arguments(depth: depth, inString: inString, escaped: escaped)
        return bytes.count
    }

    private func skipSpace(_ index: inout Int) {
        while index < bytes.count, bytes[index] == 0x20 || (9 ... 13).contains(bytes[index]) {
            index += 1
        }
    }

    private func take(_ word: String, _ index: inout Int) -> Bool {
        skipSpace(&index)
        guard bytes[index...].starts(with: word.utf8) else { return false }
        index += word.utf8.count
        return true
    }

    /// Where the string that begins at `start` ends.
    private func stringEnd(_ start: Int) -> Int? {
        guard start < bytes.count, bytes[start] == UInt8(ascii: "\"") else { return nil }
        var index = start + 1
        while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
            index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        return index < bytes.count ? index + 1 : nil
    }
}
