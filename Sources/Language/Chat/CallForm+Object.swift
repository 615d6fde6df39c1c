import Encoding

/// Reads the beginning of a call that is an object of JSON.
struct ObjectHead {
    /// The bytes do not go on as the form does; `isShort` where they end before that shows.
    struct Mismatch: Error { var isShort: Bool }

    private let bytes: ArraySlice<UInt8>
    private var index: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        index = bytes.startIndex
    }

    /// The name, and how many bytes stand before the arguments.
    mutating func read() throws(Mismatch) -> (name: String, count: Int) {
        for word in ["{", "\"name\"", ":"] { try take(word) }
        let literal = try string()
        for word in [",", "\"arguments\"", ":"] { try take(word) }
        skipSpace()
        guard index < bytes.endIndex else { throw Mismatch(isShort: true) }
        guard bytes[index] == UInt8(ascii: "{") else { throw Mismatch(isShort: false) }
        do {
            if let name = try JSONValue.parse(literal).string, !name.isEmpty {
                return (name, index - bytes.startIndex)
            }
        } catch {}
        throw Mismatch(isShort: false)
    }

    private mutating func take(_ word: String) throws(Mismatch) {
        skipSpace()
        for byte in word.utf8 {
            guard index < bytes.endIndex else { throw Mismatch(isShort: true) }
            guard bytes[index] == byte else { throw Mismatch(isShort: false) }
            index += 1
        }
    }

    private mutating func string() throws(Mismatch) -> String {
        skipSpace()
        let start = index
        guard index < bytes.endIndex else { throw Mismatch(isShort: true) }
        guard bytes[index] == UInt8(ascii: "\"") else { throw Mismatch(isShort: false) }
        index += 1
        while index < bytes.endIndex, bytes[index] != UInt8(ascii: "\"") {
            index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard index < bytes.endIndex else { throw Mismatch(isShort: true) }
        index += 1
        return String(decoding: bytes[start ..< index], as: UTF8.self)
    }

    private mutating func skipSpace() {
        while index < bytes.endIndex, CallForm.isSpace(bytes[index]) { index += 1 }
    }
}

extension CallForm {
    /// What stands before the arguments in `{"name": NAME, "arguments": OBJECT}`.
    ///
    /// - Returns: Nil while the object of the arguments has not begun.
    package static func objectCall(_ bytes: [UInt8]) -> (name: String, count: Int)? {
        var head = ObjectHead(bytes[...])
        do { return try head.read() } catch { return nil }
    }

    static func objectHead(of bytes: ArraySlice<UInt8>, isWhole: Bool) -> Head {
        var head = ObjectHead(bytes)
        do throws(ObjectHead.Mismatch) {
            let (name, count) = try head.read()
            return .call(name: name, count: count, isFenced: false)
        } catch { return error.isShort && !isWhole ? .unfinished : .other }
    }

    /// `<function=NAME>`.
    static func taggedHead(of bytes: ArraySlice<UInt8>, isWhole: Bool) -> Head {
        let words = bytes.drop(while: isSpace)
        let begin = Array(functionBegin.utf8)
        guard words.count >= begin.count else {
            return !isWhole && begin.starts(with: words) ? .unfinished : .other
        }
        guard words.starts(with: begin) else { return .other }
        guard let cut = words.firstIndex(of: UInt8(ascii: ">")) else {
            return isWhole ? .other : .unfinished
        }
        let name = words[(words.startIndex + begin.count) ..< cut]
        return named(name, count: cut + 1 - bytes.startIndex)
    }

    /// Begins a function in Qwen3-Coder's form.
    static let functionBegin = "<function="
}
