/// The constants of the control plane.
///
/// A change that an older program would misread raises `version`.
public enum ControlProtocol {
    /// The version this build speaks.
    public static let version = 3
    /// Largest frame either side accepts after both proved that they have the token.
    public static let largestFrameBytes = 16 << 20
    /// Largest application payload: a frame less its kind.
    public static let largestPayloadBytes = largestFrameBytes - 64
    /// Longest label of an all-gather.
    public static let longestLabelBytes = 256
    /// Largest blob one rank gives to an all-gather: addresses, not data.
    public static let largestBlobBytes = 1 << 20
    /// Longest error text that is carried; the rest is cut.
    public static let longestReasonBytes = 4096
    /// Bytes of the secret that opens a connection.
    public static let tokenBytes = 32
    /// How often each side says that it lives.
    public static let heartbeatInterval = Duration.milliseconds(500)
    /// How long a stranger has to prove that it has the token.
    public static let doorLimit = Duration.seconds(5)
    /// Strangers at one time.
    ///
    /// More are turned away at once.
    public static let mostStrangers = 64
    /// Messages to a peer that does not read; beyond it the peer is lost.
    public static let mostUnsentBytes = 64 << 20
}

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
