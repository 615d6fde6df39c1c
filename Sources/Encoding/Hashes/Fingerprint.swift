public import Foundation

/// A 64-bit fingerprint of bytes and words (FNV-1a), as text.
///
/// It tells values apart that were mixed up by mistake; it keeps no attacker out.
public struct Fingerprint: Sendable {
    private var hash = FNV1a()

    /// The fingerprint of nothing.
    public init() {}

    /// Takes in bytes.
    public mutating func add(_ bytes: Data) {
        var hash = hash
        for byte in bytes { hash.add(UInt64(byte)) }
        self.hash = hash
    }

    /// Takes in a word and its length, so that `ab` and `c` differ from `a` and `bc`.
    public mutating func add(_ text: String) {
        add(Data(text.utf8))
        add(Data([0]))
    }

    /// 16 hexadecimal digits.
    public var text: String {
        let digits = String(hash.value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
