import Foundation
import Glibc
import Testing

@testable import Cluster

@Suite struct HandshakeTests {
    static let token = ControlToken(bytes: (0 ..< 32).map { UInt8($0) })
    static let callerNonce = (100 ..< 132).map { UInt8($0) }
    static let coordinatorNonce = (200 ..< 232).map { UInt8($0) }

    static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { String(format: "%02x", $0) }.joined()
    }

    /// Golden: Python's `hmac.new(token, bytes([side]) + greeting + coordinator_nonce, "sha256")`.
    @Test(
        arguments: [
            (
                Handshake.Side.coordinator,
                "0afa0ac660f369f83bb8047bb98b5c789873b1ab7f6f28933e3ae9b3f4e60a31"
            ),
            (.caller, "adeb6fa820274252dc6e14534c6a97119fa23b2b4f4fbc17a2622409a85c5be4"),
        ])
    func `a proof is HMAC-SHA256 over side, greeting and nonce`(
        side: Handshake.Side, digest: String
    ) {
        let greeting = Greeting(role: .worker, nonce: Self.callerNonce)
        let statement = Handshake.statement(
            of: side, greeting, coordinatorNonce: Self.coordinatorNonce)
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
    }

    @Test func `a role that is not served is not answered`() {
        let greeting = Greeting(role: .receiver, nonce: Self.callerNonce)
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
            var coordinator = CoordinatorHandshake(Self.token, nonce: Self.coordinatorNonce)
            _ = coordinator.take(greeting.encoded())
            return coordinator
        }
        let greeting = Greeting(role: .worker, nonce: Self.callerNonce)
        func proof(
            _ side: Handshake.Side, _ greeting: Greeting, _ nonce: [UInt8]
        ) -> [UInt8] {
            Self.token.proof(
                of: Handshake.statement(of: side, greeting, coordinatorNonce: nonce))
        }
        let good = proof(.caller, greeting, Self.coordinatorNonce)
        var open = coordinatorAfterGreeting(greeting)
        #expect(open.take(good) == .admit(.worker))
        let wrong = [
            proof(.coordinator, greeting, Self.coordinatorNonce),
            proof(
                .caller, Greeting(role: .observer, nonce: Self.callerNonce), Self.coordinatorNonce),
            proof(.caller, greeting, Self.callerNonce),
            proof(
                .caller, Greeting(role: .worker, nonce: Self.coordinatorNonce),
                Self.coordinatorNonce),
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
        var greeting = Greeting(role: .worker, nonce: Self.callerNonce)
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
        let greeting = Greeting(role: .observer, nonce: Self.callerNonce).encoded()
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
