import Foundation
import Logging
import Testing
import Topology

@testable import Cluster

/// What ranks know of those that were drained, and who may have one leave.
@Suite struct DrainTakeOverTests {
    private static func held(
        _ number: UInt64, _ living: [Rank], drained: DrainedRanks?
    ) -> HeldEpoch {
        var held = TakeOverTests.held(number, living)
        held.drained = drained
        return held
    }

    @Test func `a rank that was drained is no lost one to the next coordinator`() {
        var story = TakeOverTests.story(ranks: 4)
        let away = DrainedRanks(number: 3, ranks: [1])
        story.apply(TakeOverTests.back(0, Self.held(3, [0, 2, 3], drained: away)))
        story.apply(TakeOverTests.back(2, Self.held(3, [0, 2, 3], drained: away)))
        let actions = story.apply(
            TakeOverTests.back(3, Self.held(3, [0, 2, 3], drained: away)))
        #expect(
            actions.suffix(2) == [.drained(1, recovering: []), .tookOver(recovering: [])],
            "\(actions)")
        let member = story.job.snapshot(now: story.now).members[1]
        #expect(member.drain == .left && member.absence?.hasPrefix("drained: ") == true)
        #expect(story.job.drainRefusal(of: 1) == "rank 1 is drained already")
        #expect(story.job.drainRefusal(of: 0) == nil, "none is lost")
        // The next one that leaves is told beside it.
        story.apply(.drain(2))
        story.apply(.prepared(TakeOverTests.id(0), epoch: 4))
        let both = DrainedRanks(number: 4, ranks: [1, 2])
        let told = story.apply(.prepared(TakeOverTests.id(3), epoch: 4))
        #expect(told.contains(.sendDrained(TakeOverTests.id(3), both)), "\(told)")
    }

    @Test func `a rank that was drained before the epoch without it began is left out of it`() {
        var story = TakeOverTests.story(ranks: 3)
        let held = Self.held(4, [0, 1, 2], drained: DrainedRanks(number: 5, ranks: [2]))
        story.apply(TakeOverTests.back(0, held))
        let actions = story.apply(TakeOverTests.back(1, held))
        let next = JobEpoch(number: 6, living: [0, 1])
        #expect(
            actions == [
                .welcome(TakeOverTests.id(1), 1, Welcome(epoch: 4, rankCount: 3)),
                .drained(2, recovering: []),
                .begin(TakeOverTests.id(0), next), .begin(TakeOverTests.id(1), next),
                .tookOver(recovering: [0, 1]),
            ])
        story.apply(.recovered(TakeOverTests.id(0), epoch: 6))
        #expect(
            story.apply(.recovered(TakeOverTests.id(1), epoch: 6)) == [.recovered(epoch: 6)])
    }

    @Test func `the rank that heard last says who is away`() {
        var story = TakeOverTests.story(ranks: 4)
        let old = DrainedRanks(number: 2, ranks: [3])
        let new = DrainedRanks(number: 3, ranks: [])
        for (rank, away) in [(0, old), (1, new), (2, old)] as [(Rank, DrainedRanks)] {
            story.apply(TakeOverTests.back(rank, Self.held(3, [0, 1, 2, 3], drained: away)))
        }
        #expect(story.job.awaited == [3])
    }

    @Test func `a rank that is said to be away and is here takes part`() {
        var story = TakeOverTests.story(ranks: 3)
        let held = Self.held(3, [0, 1, 2], drained: DrainedRanks(number: 3, ranks: [1]))
        for rank in [0, 1, 2] as [Rank] { story.apply(TakeOverTests.back(rank, held)) }
        #expect(story.job.phase == .ready && story.job.living == [0, 1, 2])
        #expect(story.job.snapshot(now: story.now).members.allSatisfy { $0.drain == nil })
        #expect(story.told.isEmpty)
    }

    @Test func `a rank that is back is waited for by the second of two coordinators in a row`() {
        // Ranks 0 and 1 say that rank 2 is away, and it is the first that comes.
        let held = Self.held(5, [0, 1, 2], drained: DrainedRanks(number: 5, ranks: [2]))
        var story = TakeOverTests.story(ranks: 3)
        var lists: [ConnectionID: DrainedRanks] = [:]
        for rank in [2, 0, 1] as [Rank] {
            let own = rank == 2 ? Self.held(5, [0, 1, 2], drained: nil) : held
            for action in story.apply(TakeOverTests.back(rank, own)) {
                if case .sendDrained(let id, let list) = action { lists[id] = list }
            }
        }
        #expect(story.job.living == [0, 1, 2])
        let none = DrainedRanks(number: 6, ranks: [])
        #expect(lists == [0, 1, 2].reduce(into: [:]) { $0[TakeOverTests.id($1)] = none })
        // That coordinator is lost, too, and rank 2 comes back last.
        story = TakeOverTests.story(ranks: 3)
        for rank in [0, 1] as [Rank] {
            let list = lists[TakeOverTests.id(rank.rawValue)] ?? held.drained
            story.apply(TakeOverTests.back(rank, Self.held(5, [0, 1, 2], drained: list)))
        }
        #expect(story.job.awaited == [2])
        let last = story.apply(TakeOverTests.back(2, Self.held(5, [0, 1, 2], drained: none)))
        #expect(last.last == .tookOver(recovering: []) && story.told.isEmpty, "\(last)")
        #expect(story.job.living == [0, 1, 2])
    }

    @Test func `ranks that know who is away are not told again`() {
        var story = TakeOverTests.story(ranks: 3)
        let held = Self.held(5, [0, 1], drained: DrainedRanks(number: 5, ranks: [2]))
        let actions = ([0, 1] as [Rank]).flatMap { story.apply(TakeOverTests.back($0, held)) }
        #expect(!actions.contains { if case .sendDrained = $0 { true } else { false } })
        #expect(story.job.lastNumber == 5)
    }

    @Test func `a group whose only rank was drained is not waited for`() throws {
        let groups = try RankGroupMap([
            RankGroup(name: "a", role: .serve, rankCount: 1),
            RankGroup(name: "b", role: .serve, rankCount: 1),
        ])
        var story = TakeOverTests.story(ranks: 2, groups: groups)
        let away = DrainedRanks(number: 2, ranks: [0])
        let actions = story.apply(TakeOverTests.back(1, Self.held(1, [1], drained: away)))
        #expect(actions.last == .tookOver(recovering: []), "\(actions)")
        #expect(story.job.living == [1])
    }

    @Test func `numbers go on from the one of a list that no epoch came with`() throws {
        let groups = try RankGroupMap([
            RankGroup(name: "a", role: .serve, rankCount: 1),
            RankGroup(name: "b", role: .serve, rankCount: 2),
        ])
        var story = TakeOverTests.story(ranks: 3, groups: groups)
        let away = DrainedRanks(number: 7, ranks: [0])
        for rank in [1, 2] as [Rank] {
            story.apply(TakeOverTests.back(rank, Self.held(4, [1, 2], drained: away)))
        }
        #expect(story.job.phase == .ready && story.told.isEmpty)
        story.apply(.drain(2))
        let told = story.apply(.prepared(TakeOverTests.id(1), epoch: 8))
        let both = DrainedRanks(number: 8, ranks: [0, 2])
        #expect(told.contains(.sendDrained(TakeOverTests.id(1), both)), "\(told)")
        #expect(story.told == [TakeOverTests.id(1): JobEpoch(number: 8, living: [1])])
    }

    @Test(arguments: [
        DrainedRanks(number: 1 << 16, ranks: [1]), DrainedRanks(number: 1, ranks: [9]),
        DrainedRanks(number: 1, ranks: [1, 1]), DrainedRanks(number: 1, ranks: [0, 1]),
    ])
    func `ranks that cannot be away are refused by name`(away: DrainedRanks) {
        var story = TakeOverTests.story(ranks: 2)
        let first = story.apply(TakeOverTests.back(0, Self.held(1, [0, 1], drained: away))).first
        guard case .refuse(_, let reason) = first else {
            Issue.record("\(away) is believed")
            return
        }
        #expect(reason.hasPrefix("rank 0 holds ranks "), "\(reason)")
    }

    /// A coordinator, and two ranks that take part in whatever it says.
    private static func pair(
        _ token: ControlToken
    ) async throws -> (coordinator: Coordinator, links: [ControlLink]) {
        var membership = Membership.Configuration(
            rankCount: 2, identity: MembershipTests.identity,
            deadlines: [.join: .seconds(10), .connect: .seconds(10)], silenceLimit: .seconds(3))
        membership.survivesLosses = true
        let coordinator = try Coordinator(
            Endpoint(address: "127.0.0.1", port: 0), token: token, membership: membership,
            handlers: .init(), log: Logger(label: "test"))
        let port = coordinator.port
        let links = try await ControlPlaneTests.onThreads(2) { rank in
            let link = try ControlLink.join(
                ControlPlaneTests.configuration(rank, port: port, token: token))
            link.onEpoch(
                { link.recovered(epoch: $0.number) }, prepare: { link.prepared(epoch: $0.number) },
                abandon: { _ in })
            link.enter(.ready)
            _ = try link.waitForEpoch(after: 0, limit: .seconds(5), of: rank)
            return link
        }
        return (coordinator, links)
    }

    private static func observer(
        _ coordinator: Coordinator, _ token: ControlToken
    ) throws -> ControlLink {
        try ControlLink.join(
            ControlLink.Configuration(
                Endpoint(address: "127.0.0.1", port: coordinator.port), token: token,
                hello: Hello(rank: nil, identity: nil, pid: 1, node: "here"),
                joinLimit: .seconds(5), silenceLimit: .seconds(5)))
    }

    @Test func `an observer has a rank leave, and who stays keeps it for another coordinator`()
        async throws
    {
        let token = ControlToken.random()
        let (coordinator, links) = try await Self.pair(token)
        let refusal = try await ControlPlaneTests.onThreads(1) { _ -> ClusterError? in
            let observer = try Self.observer(coordinator, token)
            defer { observer.close() }
            try observer.drain(1, limit: .seconds(5))
            do throws(ClusterError) { try observer.drain(1, limit: .seconds(5)) } catch {
                return error
            }
            return nil
        }[0]
        #expect(refusal == .badInput("rank 1 is drained already"))
        #expect(links[1].waitForEnd() == .drained(rank: 1))
        // The list of who is away comes before the epoch without rank 1.
        _ = try await ControlPlaneTests.onThreads(1) { rank in
            try links[0].waitForEpoch(after: 1, limit: .seconds(5), of: rank)
        }
        #expect(links[0].heldEpoch?.drained?.ranks == [1])
        #expect(links[0].heldEpoch?.epoch.living == [0])
        coordinator.stop()
        links.forEach { $0.close() }
        await coordinator.close()
    }

    @Test func `whoever asks for a rank waits for it, also after one that asked and went away`()
        async throws
    {
        let token = ControlToken.random()
        let (coordinator, links) = try await Self.pair(token)
        let errors = try await ControlPlaneTests.onThreads(1) { _ -> [ClusterError] in
            let first = try Self.observer(coordinator, token)
            try first.drain(1, limit: .seconds(5))
            first.close()
            var errors: [ClusterError] = []
            for _ in 0 ..< 2 {
                let observer = try Self.observer(coordinator, token)
                defer { observer.close() }
                do throws(ClusterError) {
                    try observer.recall(1, limit: .milliseconds(200))
                } catch { errors.append(error) }
            }
            return errors
        }[0]
        #expect(errors.count == 2)
        for error in errors {
            // Its process does not come within that time.
            guard case .deadline = error else {
                Issue.record("\(error)")
                continue
            }
        }
        coordinator.stop()
        links.forEach { $0.close() }
        await coordinator.close()
    }

    @Test func `a rank that waits for others of an epoch hears that it will not come`() async throws
    {
        let token = ControlToken.random()
        var membership = Membership.Configuration(
            rankCount: 3, identity: MembershipTests.identity,
            deadlines: [.join: .seconds(10), .connect: .seconds(10)], silenceLimit: .seconds(3))
        membership.survivesLosses = true
        let coordinator = try Coordinator(
            Endpoint(address: "127.0.0.1", port: 0), token: token, membership: membership,
            handlers: .init(), log: Logger(label: "test"))
        let port = coordinator.port
        let (ends, sink) = AsyncStream.makeStream(of: ClusterError.self)
        let links = try await ControlPlaneTests.onThreads(3) { rank in
            let link = try ControlLink.join(
                ControlPlaneTests.configuration(rank, port: port, token: token))
            link.onEpoch(
                { link.recovered(epoch: $0.number) },
                prepare: { next in
                    guard rank == 0 else {
                        return link.notPrepared(
                            epoch: next.number, reason: "no memory", lacksMemory: true)
                    }
                    Thread.detachNewThread {
                        do throws(ClusterError) {
                            _ = try link.allGather(
                                [], label: "memory", among: next.living, epoch: next.number,
                                limit: .seconds(60))
                        } catch { sink.yield(error) }
                    }
                }, abandon: { _ in })
            link.enter(.ready)
            _ = try link.waitForEpoch(after: 0, limit: .seconds(5), of: rank)
            return link
        }
        await #expect(throws: ClusterError.self) { try await coordinator.drain(2) }
        let end = await ends.first { _ in true }
        #expect(end == .abandoned(epoch: 2))
        coordinator.stop()
        links.forEach { $0.close() }
        await coordinator.close()
    }

    @Test func `the wait for a rank to leave follows the job's own limits`() {
        var deadlines = JobConfiguration.Deadlines()
        (deadlines.connectSeconds, deadlines.loadSeconds) = (86400, 86400)
        #expect(deadlines.leaving == .seconds(2 * 86400 + 60))
        #expect(deadlines.leaving == JobConfiguration.Deadlines.longestLeaving)
        (deadlines.connectSeconds, deadlines.loadSeconds) = (1, 2)
        #expect(deadlines.leaving == .seconds(80))
    }
}
