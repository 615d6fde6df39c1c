/// The secret of one job.
///
/// It travels in the environment of the processes that may join, never on a command line.
public struct ControlToken: Hashable, Sendable {
    let bytes: [UInt8]

    /// A new secret from the system's source of randomness.
    public static func random() -> ControlToken {
        var source = SystemRandomNumberGenerator()
        return ControlToken(
            bytes: (0 ..< ControlProtocol.tokenBytes).map { _ in
                UInt8.random(in: 0 ... 255, using: &source)
            })
    }

    /// Reads 64 hexadecimal digits.
    public init(_ text: String) throws(ClusterError) {
        let digits = text.utf8.map { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == 2 * ControlProtocol.tokenBytes, !digits.contains(nil) else {
            throw .badInput(
                "the token has \(digits.count) characters: it is"
                    + " \(2 * ControlProtocol.tokenBytes) hexadecimal digits")
        }
        bytes = (0 ..< ControlProtocol.tokenBytes).map { index in
            let high = digits[2 * index] ?? 0
            let low = digits[2 * index + 1] ?? 0
            return UInt8(high * 16 + low)
        }
    }

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// 64 hexadecimal digits.
    public var text: String {
        bytes.map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }
}
