import Foundation
import Glibc
import Logging
import NIOCore
import NIOPosix
import Synchronization
import Testing
import Topology

@testable import Cluster

/// Workers whose coordinator is gone, over real connections.
@Suite struct CoordinatorLossTests {
    private static func coordinator(
        port: Int, _ token: ControlToken, ranks: Int = 2,
        identity: JobIdentity = MembershipTests.identity, takeOver: Duration = .seconds(10),
        handlers: Coordinator.Handlers = .init()
    ) throws -> Coordinator {
        var membership = Membership.Configuration(
            rankCount: ranks, identity: identity,
            deadlines: [.join: .seconds(10), .connect: .seconds(10)], silenceLimit: .seconds(3))
        membership.survivesLosses = true
        membership.takeOverLimit = takeOver
        return try Coordinator(
            Endpoint(address: "127.0.0.1", port: port), token: token, membership: membership,
            handlers: handlers, log: Logger(label: "test"))
    }

    /// Two workers that are ready, and know it.
    private static func ready(
        _ port: Int, _ token: ControlToken, limit: Duration, ranks: Int = 2
    ) async throws -> [ControlLink] {
        let links = try await ControlPlaneTests.onThreads(ranks) { rank in
            var configuration = ControlPlaneTests.configuration(rank, port: port, token: token)
            configuration.waitLimit = limit
            let link = try ControlLink.join(configuration)
            link.enter(.ready)
            link.recovered(epoch: 1)
            return link
        }
        try await Self.until { links.allSatisfy { $0.lastEpoch != nil } }
        return links
    }

    /// A fact that does not come ends the test by name, and no time is asserted.
    private static func until(
        line: Int = #line, _ isTrue: () async -> Bool
    ) async throws {
        let limit = ContinuousClock.now + .seconds(20)
        while await !isTrue() {
            guard ContinuousClock.now < limit else { throw NeverTrue(line: line) }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    private struct NeverTrue: Error {
        let line: Int
    }

    @Test func `a worker keeps its epoch through two coordinators that are lost in a row`()
        async throws
    {
        let token = ControlToken.random()
        // One rank: a coordinator that closes connections one by one would lose the others first.
        let first = try Self.coordinator(port: 0, token, ranks: 1)
        let port = first.port
        let links = try await Self.ready(port, token, limit: .seconds(20), ranks: 1)
        let news = Mutex<[String]>([])
        links[0].onLoss(
            { _ in news.withLock { $0.append("lost") } },
            back: { news.withLock { $0.append("back") } })
        var last = first
        for round in 1 ... 2 {
            await last.close()
            let told = Mutex<[String]>([])
            last = try Self.coordinator(
                port: port, token, ranks: 1,
                handlers: .init(
                    payload: { rank, bytes in
                        told.withLock { $0.append("\(rank) \(bytes)") }
                    },
                    takingOver: { told.withLock { $0.append("taking over") } },
                    tookOver: { late in told.withLock { $0.append("took over \(late)") } }))
            try await Self.until { told.withLock { $0.contains("took over []") } }
            // A worker says nothing to a coordinator before it knows that it is let in.
            try await Self.until { links[0].lossesSoFar == round }
            try await Self.until { news.withLock { $0.count } == 2 * round }
            try links[0].send([UInt8(round)])
            try await Self.until { told.withLock { $0.contains("rank 0 [\(round)]") } }
            #expect(told.withLock { $0.first } == "taking over")
            let snapshot = try #require(await last.snapshot())
            #expect(snapshot.phase == .ready && snapshot.epoch == 1)
        }
        #expect(news.withLock { $0 } == ["lost", "back", "lost", "back"])
        #expect(links.allSatisfy { $0.end == nil && $0.epoch.number == 1 })
        last.stop()
        for link in links { #expect(link.waitForEnd() == .stopped) }
        links.forEach { $0.close() }
        await last.close()
    }

    /// Answers every caller as a coordinator of another version does, whoever it is.
    private final class Impostor: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let heard: @Sendable () -> Void

        init(_ heard: @escaping @Sendable () -> Void) { self.heard = heard }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var answer = GreetingAnswer()
            answer.version += 1
            let buffer = context.channel.allocator.buffer(bytes: answer.encoded())
            context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
            heard()
        }
    }

    @Test func `a worker that waits is not ended by bytes that prove nothing`() async throws {
        let token = ControlToken.random()
        let first = try Self.coordinator(port: 0, token, ranks: 1)
        let port = first.port
        let links = try await Self.ready(port, token, limit: .seconds(20), ranks: 1)
        await first.close()
        let answers = Atomic(0)
        let impostor = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        Impostor { answers.add(1, ordering: .relaxed) })
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        // A second attempt shows that the first answer was survived.
        try await Self.until { answers.load(ordering: .relaxed) > 1 }
        try await impostor.close()
        let second = try Self.coordinator(port: port, token, ranks: 1)
        try await Self.until { links[0].lossesSoFar == 1 }
        second.stop()
        #expect(links[0].waitForEnd() == .stopped)
        links[0].close()
        await second.close()
    }

    @Test func `a rank that starts anew is answered once the others are back, or given up`()
        async throws
    {
        let token = ControlToken.random()
        let coordinator = try Self.coordinator(port: 0, token, ranks: 3, takeOver: .seconds(4))
        let port = coordinator.port
        var links: [ControlLink] = []
        for rank in [0, 1] as [Rank] {
            // Shorter than rank 2 is waited for.
            var starting = ControlPlaneTests.configuration(
                rank, port: port, token: token, limit: .seconds(3))
            starting.waitLimit = .seconds(20)
            if rank == 0 { starting.hello.held = TakeOverTests.held(1, [0, 1, 2]) }
            let configuration = starting
            links += try await ControlPlaneTests.onThreads(1) { _ in
                try ControlLink.join(configuration)
            }
        }
        #expect(links[1].welcome.returnsTo?.living == [0])
        links.forEach { $0.close() }
        await coordinator.close()
    }

    @Test func `a rank that suspects another says that it takes no part in their epoch`()
        async throws
    {
        let token = ControlToken.random()
        let coordinator = try Self.coordinator(port: 0, token, ranks: 1)
        let links = try await Self.ready(
            coordinator.port, token, limit: .seconds(20), ranks: 1)
        await coordinator.close()
        try await Self.until { links[0].lossesSoFar == nil }
        #expect(links[0].heldEpoch?.takesPart == true)
        links[0].suspect(1, epoch: 1, reason: "its process ended")
        #expect(links[0].heldEpoch?.takesPart == false)
        links.forEach { $0.close() }
    }

    @Test func `a worker that a coordinator dismisses ends with what that says of it`()
        async throws
    {
        let token = ControlToken.random()
        let first = try Self.coordinator(port: 0, token, ranks: 1)
        let port = first.port
        let links = try await Self.ready(port, token, limit: .seconds(20), ranks: 1)
        await first.close()
        let other = try Self.coordinator(port: port, token, ranks: 1, takeOver: .zero)
        for link in links {
            let end = link.waitForEnd()
            #expect(end.description.contains("the job went on, or ends, without it"), "\(end)")
            link.close()
        }
        await other.close()
    }

    @Test func `where no coordinator comes in time, the loss and the limit are named`()
        async throws
    {
        let token = ControlToken.random()
        let coordinator = try Self.coordinator(port: 0, token, ranks: 1)
        let links = try await Self.ready(
            coordinator.port, token, limit: .milliseconds(300), ranks: 1)
        await coordinator.close()
        for link in links {
            let end = link.waitForEnd()
            #expect(end.exitStatus == .lost)
            #expect(
                end.description.contains(
                    "no other one came within 0.3 s (deadlines.coordinatorSeconds)"), "\(end)")
            link.close()
        }
    }

    @Test func `a worker that may not wait ends at once, as one that is not ready does`()
        async throws
    {
        let token = ControlToken.random()
        let coordinator = try Self.coordinator(port: 0, token)
        var configuration = ControlPlaneTests.configuration(
            0, port: coordinator.port, token: token)
        configuration.waitLimit = .seconds(20)
        let link = try ControlLink.join(configuration)
        await coordinator.close()
        Self.expectLoss(link.waitForEnd())
        link.close()
        let second = try Self.coordinator(port: 0, token)
        let links = try await Self.ready(second.port, token, limit: .zero)
        await second.close()
        for link in links {
            Self.expectLoss(link.waitForEnd())
            link.close()
        }
    }

    /// The loss alone, without a wait for another coordinator.
    private static func expectLoss(_ end: JobEnd) {
        guard case .coordinatorLost(let reason) = end, !reason.contains("no other one") else {
            Issue.record("\(end)")
            return
        }
    }

    @Test func `a coordinator of another job refuses to take workers over, and says why`()
        async throws
    {
        let token = ControlToken.random()
        let first = try Self.coordinator(port: 0, token, ranks: 1)
        let port = first.port
        let links = try await Self.ready(port, token, limit: .seconds(20), ranks: 1)
        await first.close()
        let other = try Self.coordinator(
            port: port, token, ranks: 1,
            identity: MembershipTests.identity { $0.files["config.json"] = "other" })
        for link in links {
            let end = link.waitForEnd()
            #expect(end.description.contains("refused it: model file config.json differs"))
            link.close()
        }
        #expect(await other.snapshot()?.awaited == nil)
        await other.close()
    }

    @Test func `what ranks were about to exchange fails with its coordinator, and not later`()
        async throws
    {
        let token = ControlToken.random()
        let coordinator = try Self.coordinator(port: 0, token)
        let links = try await Self.ready(coordinator.port, token, limit: .seconds(60))
        let link = links[0]
        let begins = Mutex(false)
        async let failures = ControlPlaneTests.onThreads(1) { _ -> ClusterError? in
            begins.withLock { $0 = true }
            return #expect(throws: ClusterError.self) {
                // Of an epoch that the loss of the other rank, if told first, does not supersede.
                try link.allGather([1], label: "addresses", epoch: 9, limit: .seconds(60))
            }
        }
        // The fact is the same whether the rank gives its part before the loss or after it.
        try await Self.until { begins.withLock { $0 } }
        await coordinator.close()
        let error = try #require(try await failures.first ?? nil)
        #expect("\(error)".contains("all-gather \"addresses\" was with it"), "\(error)")
        links.forEach { $0.close() }
    }
}
