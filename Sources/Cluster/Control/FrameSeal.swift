import CCrypto
import Encoding

/// Seals or opens the frames of one direction of a connection: AES-256-GCM, the frame's number as
/// its nonce.
///
/// A frame that is changed, repeated, left out or sent back does not open, because its number, its
/// key or its tag is another one. A connection ends after its first such frame.
struct FrameSeal: Sendable, Equatable {
    /// What sealing adds to a frame: the tag.
    static let addedBytes = 16
    private let key: [UInt8]
    private var number: UInt64 = 0

    init(key: [UInt8]) { self.key = key }

    /// The next frame, sealed.
    mutating func seal(_ plain: [UInt8]) -> [UInt8] {
        var sealed = [UInt8](repeating: 0, count: plain.count + Self.addedBytes)
        let isMade = crypto_seal(
            key, key.count, number, plain, plain.count, &sealed, sealed.count)
        precondition(isMade, "libcrypto sealed no frame of \(plain.count) bytes")
        number += 1
        return sealed
    }

    /// The next frame, opened.
    ///
    /// - Throws: `FrameError` where it is not what the other end sealed next.
    mutating func open(_ sealed: [UInt8]) throws(FrameError) -> [UInt8] {
        guard sealed.count >= Self.addedBytes else {
            throw FrameError(
                "a sealed frame of \(sealed.count) bytes: its tag alone has \(Self.addedBytes)")
        }
        var plain = [UInt8](repeating: 0, count: sealed.count - Self.addedBytes)
        guard
            crypto_open(key, key.count, number, sealed, sealed.count, &plain, plain.count)
        else {
            throw FrameError(
                "frame \(number) is not what the other end sealed: it was changed, repeated or"
                    + " left out on the way")
        }
        number += 1
        return plain
    }
}

/// Both directions of a connection, as one end has them.
struct FrameSeals: Sendable, Equatable {
    var outbound: FrameSeal
    var inbound: FrameSeal

    /// The keys of a connection after its handshake.
    ///
    /// - Parameters:
    ///   - side: Whose seals they are.
    ///   - session: The public keys of both ends, the caller's first.
    ///   - shared: What both ends made of them.
    init(of side: Handshake.Side, _ token: ControlToken, session: [UInt8], shared: [UInt8]) {
        func seal(from side: Handshake.Side) -> FrameSeal {
            FrameSeal(
                key: token.proof(
                    of: Array("frames".utf8) + [side.rawValue] + session + shared))
        }
        outbound = seal(from: side)
        inbound = seal(from: side == .caller ? .coordinator : .caller)
    }
}
