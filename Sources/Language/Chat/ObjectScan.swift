/// Finds where an object of JSON ends, as its text arrives.
package struct ObjectScan: Sendable, Hashable {
    private var depth = 0
    private var isInString = false
    private var isEscaped = false

    /// A scan that begins at the object's first bracket.
    package init() {}

    /// Goes on through more bytes.
    ///
    /// - Returns: How many of them belong to the object, once it ends among them.
    package mutating func end(in bytes: some Sequence<UInt8>) -> Int? {
        for (index, byte) in bytes.enumerated() {
            if isInString {
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    isInString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isInString = true
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
