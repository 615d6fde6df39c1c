import Foundation
import Glibc
import Logging
import Synchronization
import Testing
import Topology

@testable import Cluster

@Suite struct ControlPlaneTests {
    static let identity = MembershipTests.identity

    static func coordinator(
        ranks: Int, token: ControlToken, silence: Duration = .seconds(3),
        address: String = "127.0.0.1", handlers: Coordinator.Handlers = .init()
    ) throws -> Coordinator {
        try Coordinator(
            Endpoint(address: address, port: 0), token: token,
            membership: .init(
                rankCount: ranks, identity: identity,
                deadlines: [.join: .seconds(10), .connect: .seconds(10)], silenceLimit: silence),
            handlers: handlers, log: Logger(label: "test"))
    }

    static func configuration(
        _ rank: Rank, port: Int, token: ControlToken, identity: JobIdentity = identity,
        limit: Duration = .seconds(5), address: String = "127.0.0.1"
    ) -> ControlLink.Configuration {
        ControlLink.Configuration(
            Endpoint(address: address, port: port), token: token,
            hello: Hello(rank: rank, identity: identity, pid: getpid(), node: "here"),
            joinLimit: limit, silenceLimit: .seconds(3))
    }

    /// Runs one blocking body per rank, each on a thread of its own.
    static func onThreads<Value: Sendable>(
        _ count: Int, _ body: @escaping @Sendable (Rank) throws -> Value
    ) async throws -> [Value] {
        try await withThrowingTaskGroup(of: (Int, Value).self) { group in
            for index in 0 ..< count {
                group.addTask {
                    try await withCheckedThrowingContinuation { continuation in
                        Thread.detachNewThread {
                            continuation.resume(
                                with: Result { (index, try body(Rank(rawValue: index))) })
                        }
                    }
                }
            }
            return try await group.reduce(into: [(Int, Value)]()) { $0.append($1) }
                .sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    @Test func `ranks join, gather blobs of all, and are ready together`() async throws {
        let token = ControlToken.random()
        let reached = Mutex<[Phase]>([])
        let coordinator = try Self.coordinator(
            ranks: 3, token: token,
            handlers: .init(reached: { phase in reached.withLock { $0.append(phase) } }))
        let port = coordinator.port
        let blobs = try await Self.onThreads(3) { rank in
            let link = try ControlLink.join(Self.configuration(rank, port: port, token: token))
            link.enter(.load)
            let all = try link.allGather(
                [UInt8(rank.rawValue)], label: "addresses", limit: .seconds(5))
            link.enter(.ready)
            _ = try link.allGather([], label: "done", limit: .seconds(5))
            return (all, link)
        }
        #expect(blobs.allSatisfy { $0.0 == [[0], [1], [2]] })
        let snapshot = try #require(await coordinator.snapshot())
        #expect(snapshot.phase == .ready)
        coordinator.stop()
        #expect(try await coordinator.end() == .stopped)
        for (_, link) in blobs { #expect(link.waitForEnd() == .stopped) }
        blobs.forEach { $0.1.close() }
        await coordinator.close()
        #expect(reached.withLock { $0 } == [.connect, .load, .warmUp, .ready])
    }

    @Test(arguments: ["::1", "[::1]", "localhost"])
    func `ranks join at an IPv6 address and at a name`(address: String) async throws {
        let token = ControlToken.random()
        let coordinator = try Self.coordinator(ranks: 1, token: token, address: address)
        let port = coordinator.port
        let link = try await Self.onThreads(1) {
            try ControlLink.join(
                Self.configuration($0, port: port, token: token, address: address))
        }[0]
        #expect(link.welcome.rankCount == 1)
        coordinator.orphan()
        #expect(link.waitForEnd() == .launcherLost)
        link.close()
        await coordinator.close()
    }

    @Test func `payloads cross both ways, in order`() async throws {
        let token = ControlToken.random()
        let heard = Mutex<[[UInt8]]>([])
        let coordinator = try Self.coordinator(
            ranks: 1, token: token,
            handlers: .init(payload: { _, bytes in heard.withLock { $0.append(bytes) } }))
        let port = coordinator.port
        let link = try await Self.onThreads(1) {
            try ControlLink.join(Self.configuration($0, port: port, token: token))
        }[0]
        let echoed = DispatchSemaphore(value: 0)
        for number in 0 ..< 100 { coordinator.send([UInt8(number)], to: 0) }
        link.onPayload { bytes in
            try? link.send(bytes + bytes)
            if bytes == [99] { echoed.signal() }
        }
        _ = try await Self.onThreads(1) { _ in
            #expect(echoed.wait(timeout: .now() + 5) == .success)
            _ = try link.allGather([], label: "after", limit: .seconds(5))
        }
        #expect(heard.withLock { $0 } == (0 ..< 100).map { [UInt8($0), UInt8($0)] })
        link.close()
        await coordinator.close()
    }

    @Test func `a worker waits for a coordinator that starts later`() async throws {
        let token = ControlToken.random()
        let first = try Self.coordinator(ranks: 1, token: token)
        let port = first.port
        await first.close()
        async let joined = Self.onThreads(1) {
            try ControlLink.join(Self.configuration($0, port: port, token: token))
        }
        try await Task.sleep(for: .milliseconds(500))
        let coordinator = try Coordinator(
            Endpoint(address: "127.0.0.1", port: port), token: token,
            membership: .init(
                rankCount: 1, identity: Self.identity, deadlines: [:], silenceLimit: .seconds(3)),
            handlers: .init(), log: Logger(label: "test"))
        let link = try await joined[0]
        #expect(link.welcome.rankCount == 1)
        link.close()
        await coordinator.close()
    }

    @Test func `a worker with another model is refused by the field's name`() async throws {
        let token = ControlToken.random()
        let coordinator = try Self.coordinator(ranks: 2, token: token)
        let port = coordinator.port
        let other = MembershipTests.identity { $0.files["config.json"] = "other" }
        let error = await #expect(throws: ClusterError.self) {
            try await Self.onThreads(1) {
                try ControlLink.join(
                    Self.configuration($0, port: port, token: token, identity: other))
            }
        }
        #expect("\(error!)".contains("model file config.json differs: the coordinator has m"))
        #expect(error?.exitStatus == .badInput)
        await coordinator.close()
    }

    @Test func `a wrong token is rejected without an answer`() async throws {
        let coordinator = try Self.coordinator(ranks: 1, token: .random())
        let port = coordinator.port
        let error = await #expect(throws: ClusterError.self) {
            try await Self.onThreads(1) {
                try ControlLink.join(
                    Self.configuration(
                        $0, port: port, token: .random(), limit: .milliseconds(600)))
            }
        }
        #expect("\(error!)".contains("could not join at 127.0.0.1:\(port) within 0.6 s"))
        let snapshot = await coordinator.snapshot()
        #expect(snapshot?.members[0].lastError == nil)
        await coordinator.close()
    }

    @Test func `a lost rank ends the job on every survivor, with its name`() async throws {
        let token = ControlToken.random()
        let coordinator = try Self.coordinator(ranks: 2, token: token)
        let port = coordinator.port
        let links = try await Self.onThreads(2) {
            try ControlLink.join(Self.configuration($0, port: port, token: token))
        }
        links[1].close()
        let error = await #expect(throws: ClusterError.self) {
            _ = try await Self.onThreads(1) { _ in
                try links[0].allGather([], label: "never", limit: .seconds(5))
            }
        }
        #expect("\(error!)".contains("rank 1 was lost in phase connect, epoch 1"))
        #expect(error?.exitStatus == .lost)
        links[0].close()
        await coordinator.close()
    }

    @Test func `a taken port is refused with its number`() async throws {
        let coordinator = try Self.coordinator(ranks: 1, token: .random())
        let port = coordinator.port
        let error = #expect(throws: ClusterError.self) {
            try Coordinator(
                Endpoint(address: "127.0.0.1", port: port), token: .random(),
                membership: .init(
                    rankCount: 1, identity: Self.identity, deadlines: [:],
                    silenceLimit: .seconds(3)), handlers: .init(), log: Logger(label: "test"))
        }
        #expect("\(error!)".contains("127.0.0.1:\(port) cannot be listened on"))
        #expect(error?.exitStatus == .badInput)
        await coordinator.close()
    }
}
