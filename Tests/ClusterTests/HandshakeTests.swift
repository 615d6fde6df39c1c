import Foundation
import Glibc
import Testing

@testable import Cluster

@Suite struct HandshakeTests {
    static let token = ControlToken(bytes: (0 ..< 32).map { UInt8($0) })
    static let callerKey = HandshakeKey(secret: (100 ..< 132).map { UInt8($0) })
    static let coordinatorKey = HandshakeKey(secret: (200 ..< 232).map { UInt8($0) })

    static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { String(format: "%02x", $0) }.joined()
    }

    /// Golden: the ladder of RFC 7748 in Python, held against the vectors of its section 5.2.
    @Test func `keys of a connection are those of X25519`() throws {
        #expect(
            Self.hex(Self.callerKey.published)
                == "7d9c24316539825c1896e57f28197746793ce60cbee3ad47da9d07b85fa55e2a")
        #expect(
            Self.hex(Self.coordinatorKey.published)
                == "4d5bab89b0733d9d8dcecf04f321c90b761b7765a6bdb2bddbfad3e7abdf1f66")
        let shared = try #require(Self.callerKey.shared(with: Self.coordinatorKey.published))
        #expect(
            Self.hex(shared)
                == "39d06aeaf46f39d97533b0e3e890eace641f8161740697744d18be7c3f438c73")
        #expect(Self.coordinatorKey.shared(with: Self.callerKey.published) == shared)
    }

    /// RFC 7748, section 6.1: a result of zeros is refused.
    @Test func `a public key that makes a known secret is refused on both sides`() {
        let zeros = [UInt8](repeating: 0, count: HandshakeKey.byteCount)
        #expect(Self.callerKey.shared(with: zeros) == nil)
        #expect(Self.callerKey.shared(with: Array(zeros.dropLast())) == nil)
        let greeting = Greeting(role: .worker, key: zeros)
        var coordinator = CoordinatorHandshake(Self.token, key: Self.coordinatorKey)
        _ = coordinator.take(greeting.encoded())
        let proof = Self.token.proof(
            of: Handshake.statement(
                of: .caller, greeting, coordinatorKey: Self.coordinatorKey.published))
        #expect(coordinator.take(proof) == .reject([], reason: "sent a public key that is none"))
        var caller = CallerHandshake(Self.token, role: .worker)
        var answer = GreetingAnswer()
        answer.key = zeros
        answer.proof = Self.token.proof(
            of: Handshake.statement(of: .coordinator, caller.greeting, coordinatorKey: zeros))
        #expect(
            caller.take(answer.encoded())
                == .mistrust(reason: "what listens there sent a public key that is none"))
    }

    /// Golden: Python's `hmac.new(token, bytes([side]) + greeting + coordinator_key, "sha256")`.
    @Test(
        arguments: [
            (
                Handshake.Side.coordinator,
                "131a088f59f585e5b3d39a0bf9c43c2bd9b97ee38ffcf5c6ac80e1b870e03bd5"
            ),
            (.caller, "9a6ebbcc1f3171cec3d9653be798f9363ef8694e7f8d6fd03e8c3249524c2e4e"),
        ])
    func `a proof is HMAC-SHA256 over side, greeting and key`(
        side: Handshake.Side, digest: String
    ) {
        let greeting = Greeting(role: .worker, key: Self.callerKey.published)
        let statement = Handshake.statement(
            of: side, greeting, coordinatorKey: Self.coordinatorKey.published)
        let proof = Self.token.proof(of: statement)
        #expect(Self.hex(proof) == digest)
        #expect(Self.token.isProof(proof, of: statement))
        #expect(!Self.token.isProof(Array(proof.dropLast()), of: statement))
    }

    /// Lets both ends speak until one is through, in pieces of some bytes.
    static func meet(
        _ coordinator: inout CoordinatorHandshake, _ caller: inout CallerHandshake, piece: Int = 7
    ) -> (coordinator: CoordinatorHandshake.Action, caller: CallerHandshake.Action) {
        var atCoordinator = coordinator.takeAll(caller.greeting.encoded(), piece: piece) ?? .wait
        var atCaller = CallerHandshake.Action.wait
        if case .send(let answer) = atCoordinator {
            atCaller = caller.takeAll(answer, piece: piece) ?? .wait
        }
        if case .prove(let proof) = atCaller {
            atCoordinator = coordinator.takeAll(proof, piece: piece) ?? .wait
        }
        return (atCoordinator, atCaller)
    }

    @Test(arguments: Handshake.Role.allCases, [1, 7, 40, 72])
    func `who has the token is let in, in any pieces`(role: Handshake.Role, piece: Int) {
        var coordinator = CoordinatorHandshake(Self.token, roles: [role])
        var caller = CallerHandshake(Self.token, role: role)
        let (atCoordinator, atCaller) = Self.meet(&coordinator, &caller, piece: piece)
        #expect(atCoordinator == .admit(role))
        guard case .prove(let proof) = atCaller else { return #expect(Bool(false), "\(atCaller)") }
        #expect(proof.count == Handshake.proofBytes)
        #expect(coordinator.seals != nil)
        #expect(coordinator.seals?.outbound == caller.seals?.inbound)
        #expect(coordinator.seals?.inbound == caller.seals?.outbound)
        #expect(caller.seals?.inbound != caller.seals?.outbound)
    }

    @Test func `a role that is not served is not answered`() {
        let greeting = Greeting(role: .receiver, key: Self.callerKey.published)
        var coordinator = CoordinatorHandshake(Self.token)
        #expect(
            coordinator.take(greeting.encoded())
                == .reject([], reason: "did not greet as a rank or an observer does"))
    }

    @Test func `a caller tells a coordinator without the token, and proves nothing to it`() {
        var coordinator = CoordinatorHandshake(.random())
        var caller = CallerHandshake(Self.token, role: .worker)
        let (_, atCaller) = Self.meet(&coordinator, &caller)
        guard case .mistrust(let reason) = atCaller else {
            return #expect(Bool(false), "\(atCaller)")
        }
        #expect(reason.contains("did not prove that it has our token"))
    }

    @Test func `a proof of another connection, role or side is rejected`() {
        func coordinatorAfterGreeting(_ greeting: Greeting) -> CoordinatorHandshake {
            var coordinator = CoordinatorHandshake(Self.token, key: Self.coordinatorKey)
            _ = coordinator.take(greeting.encoded())
            return coordinator
        }
        let greeting = Greeting(role: .worker, key: Self.callerKey.published)
        func proof(
            _ side: Handshake.Side, _ greeting: Greeting, _ key: HandshakeKey
        ) -> [UInt8] {
            Self.token.proof(
                of: Handshake.statement(of: side, greeting, coordinatorKey: key.published))
        }
        let good = proof(.caller, greeting, Self.coordinatorKey)
        var open = coordinatorAfterGreeting(greeting)
        #expect(open.take(good) == .admit(.worker))
        let wrong = [
            proof(.coordinator, greeting, Self.coordinatorKey),
            proof(
                .caller, Greeting(role: .observer, key: Self.callerKey.published),
                Self.coordinatorKey),
            proof(.caller, greeting, Self.callerKey),
            proof(
                .caller, Greeting(role: .worker, key: Self.coordinatorKey.published),
                Self.coordinatorKey),
            [UInt8](repeating: 0, count: Handshake.proofBytes),
        ]
        for bytes in wrong {
            var coordinator = coordinatorAfterGreeting(greeting)
            guard case .reject(let answer, _) = coordinator.take(bytes) else {
                #expect(Bool(false), "\(Self.hex(bytes)) was let in")
                continue
            }
            #expect(answer.isEmpty)
        }
    }

    @Test func `another version is told ours, and nothing that the token would make`() {
        var greeting = Greeting(role: .worker, key: Self.callerKey.published)
        greeting.version = 1
        var coordinator = CoordinatorHandshake(Self.token)
        guard case .reject(let answer, let reason) = coordinator.take(greeting.encoded()) else {
            return #expect(Bool(false), "another version was let in")
        }
        #expect(reason == "speaks protocol version 1, this is \(ControlProtocol.version)")
        #expect(GreetingAnswer(answer) == GreetingAnswer())
        var other = GreetingAnswer()
        other.version = 99
        var caller = CallerHandshake(Self.token, role: .worker)
        #expect(
            caller.take(other.encoded())
                == .refused(
                    reason: "protocol version differs: the coordinator has 99, the worker has "
                        + "\(ControlProtocol.version)"))
    }

    @Test func `messages are read from exactly their bytes`() {
        let greeting = Greeting(role: .observer, key: Self.callerKey.published).encoded()
        #expect(greeting.count == Greeting.byteCount && Greeting(greeting) != nil)
        #expect(Greeting(Array(greeting.dropLast())) == nil && Greeting(greeting + [0]) == nil)
        for (index, value) in [(0, UInt8(0)), (6, 3), (7, 1)] {
            var bytes = greeting
            bytes[index] = value
            #expect(Greeting(bytes) == nil, "byte \(index)")
        }
        let answer = GreetingAnswer().encoded()
        #expect(answer.count == GreetingAnswer.byteCount)
        #expect(GreetingAnswer(Array(answer.dropLast())) == nil)
    }
}

/// A side of the handshake, which takes the bytes that it lacks.
private protocol Side {
    associatedtype Action
    var missing: Int { get }
    mutating func take(_ bytes: [UInt8]) -> Action
}

extension CoordinatorHandshake: Side {}
extension CallerHandshake: Side {}

extension Side {
    /// Hands bytes over in pieces; nil for no bytes.
    fileprivate mutating func takeAll(_ bytes: [UInt8], piece: Int) -> Action? {
        var action: Action?
        var rest = bytes[...]
        while !rest.isEmpty {
            let part = rest.prefix(min(piece, missing))
            rest = rest.dropFirst(part.count)
            action = take(Array(part))
        }
        return action
    }
}
