/// Tells the strings of JSON from what stands between them, as the text arrives.
struct StringScan: Sendable, Hashable {
    /// Whether the text ends inside a string.
    private(set) var isInside = false
    /// Whether the last string holds a control character, such as a line break: no JSON has that.
    private(set) var isBroken = false
    private var isEscaped = false

    /// Goes on through one more byte.
    ///
    /// - Returns: Whether it belongs to a string, as its quotes do.
    @discardableResult mutating func append(_ byte: UInt8) -> Bool {
        guard isInside else {
            isInside = byte == UInt8(ascii: "\"")
            isBroken = false
            return isInside
        }
        if byte < 0x20 { isBroken = true }
        if isEscaped {
            isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
            isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
            isInside = false
        }
        return true
    }
}

/// Finds where an object of JSON ends, as its text arrives.
package struct ObjectScan: Sendable, Hashable {
    private var depth = 0
    private var strings = StringScan()

    /// A scan that begins at the object's first bracket.
    package init() {}

    /// Goes on through more bytes.
    ///
    /// - Returns: How many of them belong to the object, once it ends among them.
    package mutating func end(in bytes: some Sequence<UInt8>) -> Int? {
        for (index, byte) in bytes.enumerated() {
            guard !strings.append(byte) else { continue }
            switch byte {
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth <= 0 { return index + 1 }
            default: break
            }
        }
        return nil
    }
}
