import NIOCore
import NIOEmbedded
import Testing

@testable import Cluster

/// Frames of a connection after its handshake, and what somebody on the way can do to them.
@Suite struct FrameSealTests {
    /// What stands before the framing; it passes everything on.
    final class First: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
    }

    /// The seals of one end, of keys that the tests know.
    static func seals(of side: Handshake.Side) -> FrameSeals {
        let (caller, coordinator) = (HandshakeTests.callerKey, HandshakeTests.coordinatorKey)
        let shared = caller.shared(with: coordinator.published) ?? []
        return FrameSeals(
            of: side, HandshakeTests.token, session: caller.published + coordinator.published,
            shared: shared)
    }

    /// Golden: Python's `AESGCM(key).encrypt(number.to_bytes(12, "big"), plain, None)`, its key
    /// `hmac.new(token, b"frames\x00" + both_keys + shared, "sha256")`.
    @Test func `a frame is sealed with AES-256-GCM, its number the nonce`() throws {
        let frames: [(plain: [UInt8], sealed: String)] = [
            (Array("first frame".utf8), "cbe2ca0e8136a731be74c3ae1b1d1d09859b89f56d06f96feaee84"),
            ([], "69d19ec918dcccb77c5d2ef077ba47d9"),
            (
                Array(0 ..< 40),
                "fafbfffa57eceeb5a28b2f64b097dad7ecc287571e74fa46ad6881bc0cb8"
                    + "d20ad796bdc02cb026ef082bb8283fa60c1342c33f6784d77d33"
            ),
        ]
        var coordinator = Self.seals(of: .coordinator)
        var caller = Self.seals(of: .caller)
        for (plain, golden) in frames {
            let sealed = coordinator.outbound.seal(plain)
            #expect(HandshakeTests.hex(sealed) == golden)
            #expect(try caller.inbound.open(sealed) == plain)
        }
    }

    @Test func `a frame that is changed at any bit, cut or grown does not open`() {
        var coordinator = Self.seals(of: .coordinator)
        let sealed = coordinator.outbound.seal(Array("stop".utf8))
        var forms = (0 ..< sealed.count * 8).map { bit in
            var changed = sealed
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            return changed
        }
        forms += [Array(sealed.dropLast()), sealed + [0], [], [1, 2, 3]]
        for form in forms {
            var caller = Self.seals(of: .caller)
            #expect(throws: FrameError.self) { try caller.inbound.open(form) }
        }
    }

    @Test
    func `a frame that is repeated, left out, sent back or of another connection does not open`()
        throws
    {
        var coordinator = Self.seals(of: .coordinator)
        let frames = (0 ..< 3).map { coordinator.outbound.seal([UInt8($0)]) }
        var caller = Self.seals(of: .caller)
        #expect((try? caller.inbound.open(frames[0])) == [0])
        var again = caller
        #expect(throws: FrameError.self) { try again.inbound.open(frames[0]) }
        var later = caller
        #expect(throws: FrameError.self) { try later.inbound.open(frames[2]) }
        #expect(throws: FrameError.self) { try coordinator.inbound.open(frames[0]) }
        var other = CallerHandshake(HandshakeTests.token, role: .worker)
        var itsCoordinator = CoordinatorHandshake(HandshakeTests.token)
        _ = HandshakeTests.meet(&itsCoordinator, &other)
        var seals = try #require(other.seals)
        #expect(throws: FrameError.self) { try seals.inbound.open(frames[0]) }
        #expect((try? caller.inbound.open(frames[1])) == [1])
    }

    /// Both ends' handlers, the bytes carried by hand.
    @Test func `two channels understand each other, and one byte that changed ends them`() throws {
        func channel(_ side: Handshake.Side) throws -> EmbeddedChannel {
            let channel = EmbeddedChannel()
            let first = First()
            try channel.pipeline.syncOperations.addHandler(first)
            try ControlChannel.addFraming(
                to: channel.pipeline.syncOperations, Self.seals(of: side), after: first)
            return channel
        }
        let (coordinator, caller) = (try channel(.coordinator), try channel(.caller))
        func carried() throws -> ByteBuffer {
            var all = ByteBuffer()
            while var part = try coordinator.readOutbound(as: ByteBuffer.self) {
                all.writeBuffer(&part)
            }
            return all
        }
        try coordinator.writeOutbound(ControlFrame.refusal(reason: "secret words"))
        let bytes = try carried()
        #expect(!String(buffer: bytes).contains("secret"))
        try caller.writeInbound(bytes)
        #expect(try caller.readInbound() == ControlFrame.refusal(reason: "secret words"))
        try coordinator.writeOutbound(ControlFrame.refusal(reason: "secret words"))
        var changed = try carried()
        let last = changed.writerIndex - 1
        let byte = try #require(changed.getInteger(at: last, as: UInt8.self))
        changed.setInteger(byte ^ 1, at: last)
        let error = #expect(throws: FrameError.self) { try caller.writeInbound(changed) }
        #expect("\(error!)".contains("is not what the other end sealed"))
    }
}
