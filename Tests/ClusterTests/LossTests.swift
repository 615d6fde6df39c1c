import Encoding
import Testing
import Topology

@testable import Cluster

/// Jobs that go on when ranks are lost.
@Suite struct LossTests {
    /// A job that is ready, and what its coordinator said to whom.
    struct Story {
        var job: Membership
        var now = Duration.seconds(1)
        /// The last epoch that each connection was told.
        var told: [ConnectionID: JobEpoch] = [:]
        var dismissed: [ConnectionID: JobEnd] = [:]

        init(
            ranks: Int, silence: Duration = .seconds(3), groups: RankGroupMap? = nil,
            isReady: Bool = true, change: (inout Membership.Configuration) -> Void = { _ in }
        ) {
            var configuration = Membership.Configuration(
                rankCount: ranks, identity: MembershipTests.identity,
                deadlines: [.connect: .seconds(5), .load: .seconds(20)], silenceLimit: silence)
            configuration.survivesLosses = true
            configuration.groups = groups
            change(&configuration)
            job = Membership(configuration: configuration, now: .zero)
            for rank in 0 ..< ranks { arrive(rank, as: rank) }
            guard isReady else { return }
            for rank in 0 ..< ranks { apply(.entered(Self.id(rank), .ready)) }
            // Each was told the epoch in which the job begins.
            told = [:]
        }

        static func id(_ number: Int) -> ConnectionID { ConnectionID(rawValue: number) }

        @discardableResult
        mutating func arrive(_ rank: Int, as connection: Int) -> [Membership.Action] {
            apply(.arrived(Self.id(connection), MembershipTests.hello(Rank(rawValue: rank))))
        }

        @discardableResult
        mutating func apply(
            _ event: Membership.Event, after pause: Duration = .zero
        ) -> [Membership.Action] {
            now += pause
            let actions = job.apply(event, now: now)
            for action in actions {
                switch action {
                case .begin(let id, let epoch): told[id] = epoch
                case .dismiss(let id, let end): dismissed[id] = end
                default: break
                }
            }
            return actions
        }

        mutating func beat(_ connections: [Int], after pause: Duration = .zero) {
            now += pause
            for connection in connections { apply(.beat(Self.id(connection), nil)) }
        }
    }

    @Test func `a closed connection begins an epoch of the others`() {
        var story = Story(ranks: 3)
        let actions = story.apply(.closed(Story.id(1), reason: "closed"))
        let next = JobEpoch(number: 2, living: [0, 2])
        #expect(actions.contains(.lost(1, reason: "closed", recovering: [0, 2])))
        #expect(story.told == [Story.id(0): next, Story.id(2): next])
        #expect(story.job.isRecovering)
        #expect(story.apply(.recovered(Story.id(0), epoch: 1)).isEmpty)
        #expect(story.apply(.recovered(Story.id(0), epoch: 2)).isEmpty)
        #expect(story.apply(.recovered(Story.id(2), epoch: 2)) == [.recovered(epoch: 2)])
        #expect(story.job.snapshot(now: story.now).members[1].loss == "closed")
        #expect(story.job.ending == nil)
    }

    @Test func `before the job is ready, and with nobody left, a loss ends it`() {
        var story = Story(ranks: 2)
        story.apply(.closed(Story.id(0), reason: "closed"))
        #expect(
            story.apply(.closed(Story.id(1), reason: "closed too")) == [
                .end(.lost(rank: 1, phase: .ready, epoch: 2, reason: "closed too"))
            ])
        var early = Membership(
            configuration: {
                var configuration = Membership.Configuration(
                    rankCount: 2, identity: MembershipTests.identity, deadlines: [:],
                    silenceLimit: .seconds(3))
                configuration.survivesLosses = true
                return configuration
            }(), now: .zero)
        _ = early.apply(.arrived(Story.id(0), MembershipTests.hello(0)), now: .zero)
        let actions = early.apply(.closed(Story.id(0), reason: "closed"), now: .zero)
        #expect(actions == [.end(.lost(rank: 0, phase: .connect, epoch: 1, reason: "closed"))])
    }

    @Test func `a rank that cannot go on leaves the others, who hear its reason`() {
        var story = Story(ranks: 2)
        let actions = story.apply(.failed(Story.id(0), reason: "out of memory", lost: nil))
        #expect(actions.contains(.lost(0, reason: "out of memory", recovering: [1])))
        #expect(story.dismissed[Story.id(0)] != nil)
    }

    @Test func `a stopped rank is lost when its silence confirms what others report`() {
        var story = Story(ranks: 3)
        story.beat([0, 1, 2])
        story.beat([0, 2], after: .seconds(1))
        let report = Membership.Event.suspected(
            Story.id(0), rank: 1, epoch: 1, reason: "no heartbeat")
        #expect(story.apply(report).isEmpty)
        story.beat([0, 2], after: .milliseconds(249))
        #expect(story.apply(.tick).isEmpty)
        // Now rank 1 was not heard of for 1.25 s.
        story.beat([0, 2], after: .milliseconds(1))
        let actions = story.apply(.tick)
        #expect(
            actions.contains(
                .lost(1, reason: "rank 0 reports: no heartbeat", recovering: [0, 2])))
        #expect(story.dismissed[Story.id(1)]?.exitStatus == .lost)
    }

    @Test func `of ranks that suspect each other the one that most suspect is lost`() {
        var story = Story(ranks: 4)
        // Rank 0's cable is cut: it suspects the first it waits for, and all suspect it.
        for (reporter, suspect) in [(1, 0), (0, 1), (2, 0), (3, 0)] as [(Int, Rank)] {
            story.beat([0, 1, 2, 3])
            story.apply(.suspected(Story.id(reporter), rank: suspect, epoch: 1, reason: "x"))
        }
        story.beat([0, 1, 2, 3], after: .milliseconds(200))
        #expect(story.apply(.tick).isEmpty)
        story.beat([0, 1, 2, 3], after: .milliseconds(50))
        story.apply(.tick)
        #expect(story.dismissed.keys.map(\.rawValue) == [0])
        #expect(story.job.living == [1, 2, 3])
        // Nor does what the lost rank said count later.
        for _ in 0 ..< 8 {
            story.beat([1, 2, 3], after: .milliseconds(250))
            story.apply(.tick)
        }
        #expect(story.job.living == [1, 2, 3])
    }

    @Test func `a suspicion of an epoch that is over is no loss`() {
        var story = Story(ranks: 3)
        story.apply(.closed(Story.id(2), reason: "closed"))
        story.apply(.suspected(Story.id(0), rank: 1, epoch: 1, reason: "it closed its fabric"))
        story.beat([0, 1], after: .seconds(2))
        #expect(story.apply(.tick).isEmpty)
        #expect(story.job.living == [0, 1])
    }

    @Test func `an all-gather of an epoch that is over is void`() {
        var story = Story(ranks: 3)
        let old = Gather(label: "a", members: [0, 1])
        story.apply(.contributed(Story.id(0), old, blob: [0]))
        story.apply(.closed(Story.id(2), reason: "closed"))
        #expect(story.apply(.contributed(Story.id(1), old, blob: [1])).isEmpty)
        let new = Gather(label: "a", members: [0, 1], epoch: 2)
        story.apply(.contributed(Story.id(0), new, blob: [2]))
        #expect(
            story.apply(.contributed(Story.id(1), new, blob: [3])) == [
                .deliver(Story.id(0), new, blobs: [[2], [3]]),
                .deliver(Story.id(1), new, blobs: [[2], [3]]),
            ])
    }

    @Test func `a second process of a rank that lives is refused`() {
        var story = Story(ranks: 2)
        guard case .refuse(_, let reason) = story.arrive(1, as: 9).first else {
            Issue.record("rank 1 was taken twice")
            return
        }
        #expect(reason == "rank 1 is held by process 7 on here")
    }

    @Test func `a rank that does not come to an epoch is lost, too`() {
        var story = Story(ranks: 3)
        story.apply(.closed(Story.id(1), reason: "closed"))
        story.apply(.recovered(Story.id(0), epoch: 2))
        for _ in 0 ..< 25 { story.beat([0, 2], after: .seconds(1)) }
        #expect(story.apply(.tick).isEmpty)
        story.beat([0, 2], after: .seconds(1))
        let actions = story.apply(.tick)
        #expect(
            actions.contains(
                .lost(
                    2, reason: "it did not take part in epoch 2 within 25 s", recovering: [0])))
        #expect(story.told[Story.id(0)] == JobEpoch(number: 3, living: [0]))
    }

    @Test func `of ranks that do not come to an epoch the one that the others wait for is lost`() {
        var story = Story(ranks: 4)
        story.apply(.closed(Story.id(1), reason: "closed"))
        let gather = Gather(label: "memory", members: [0, 2, 3], epoch: 2)
        for rank in [0, 3] { story.apply(.contributed(Story.id(rank), gather, blob: [1])) }
        for _ in 0 ..< 26 { story.beat([0, 2, 3], after: .seconds(1)) }
        let reason = "it did not take part in epoch 2 within 25 s"
        #expect(
            story.apply(.tick).contains(.lost(2, reason: reason, recovering: [0, 3])))
        #expect(story.job.living == [0, 3])
    }

    @Test func `a loss in one group is nothing to another, until all are gone`() throws {
        let groups = try RankGroupMap([
            RankGroup(name: "a", role: .serve, rankCount: 2),
            RankGroup(name: "b", role: .serve, rankCount: 2),
        ])
        var story = Story(ranks: 4, groups: groups)
        let lost = story.apply(.closed(Story.id(1), reason: "closed"))
        #expect(lost.contains(.lost(1, reason: "closed", recovering: [0])))
        #expect(story.told == [Story.id(0): JobEpoch(number: 2, living: [0])])
        // While group a changes, group b loses a rank: each has its own epoch.
        let own = Gather(label: "a", members: [0], epoch: 2)
        story.apply(.closed(Story.id(3), reason: "closed"))
        #expect(story.told[Story.id(0)]?.number == 2 && story.told[Story.id(2)]?.number == 3)
        #expect(
            story.apply(.contributed(Story.id(0), own, blob: [7])) == [
                .deliver(Story.id(0), own, blobs: [[7]])
            ])
        #expect(story.apply(.recovered(Story.id(0), epoch: 2)).isEmpty)
        #expect(story.apply(.recovered(Story.id(2), epoch: 3)) == [.recovered(epoch: 3)])
        // A group without ranks leaves the other to serve.
        let last = story.apply(.closed(Story.id(0), reason: "closed"))
        #expect(last.contains(.lost(0, reason: "closed", recovering: [])))
        #expect(story.job.ending == nil && story.job.living == [2])
        // A rank of it that is back waits for the other one (GroupLossTests).
        story.arrive(1, as: 9)
        #expect(story.apply(.entered(Story.id(9), .ready)).isEmpty)
        #expect(story.told[Story.id(9)] == nil && story.job.living == [2])
    }

    @Test func `a pause of the coordinator itself is nobody's silence`() {
        var story = Story(ranks: 2)
        story.apply(.tick)
        #expect(story.apply(.tick, after: .seconds(60)).isEmpty)
        #expect(story.job.living == [0, 1])
        // But silence while it runs is.
        for _ in 0 ..< 3 { story.apply(.tick, after: .seconds(1)) }
        #expect(story.job.ending != nil || story.job.living.count < 2)
    }

    /// Closes, silences, suspicions, failures and returns in any order.
    @Test(arguments: 0 ..< 10)
    func `whatever happens, an epoch is told to those who take part and to nobody else`(
        thousand: UInt64
    ) {
        for seed in thousand * 1000 ..< (thousand + 1) * 1000 { Self.check(seed) }
    }

    private static func check(_ seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let ranks = Int.random(in: 2 ... 6, using: &random)
        var story = Story(ranks: ranks)
        /// The connection of each rank that has one.
        var held = Dictionary(uniqueKeysWithValues: (0 ..< ranks).map { ($0, $0) })
        var next = 100
        var epoch = story.job.epoch
        for _ in 0 ..< 80 {
            let rank = Int.random(in: 0 ..< ranks, using: &random)
            let pause = Duration.milliseconds(Int.random(in: 0 ... 600, using: &random))
            story.now += pause
            let id = held[rank].map(Story.id)
            switch (Int.random(in: 0 ..< 8, using: &random), id) {
            case (0, let id?):
                story.apply(.closed(id, reason: "closed"))
                held[rank] = nil
            case (1, let id?): story.apply(.failed(id, reason: "failed", lost: nil))
            case (2, let id?):
                story.apply(
                    .suspected(
                        id, rank: Rank(rawValue: Int.random(in: 0 ..< ranks, using: &random)),
                        epoch: UInt64.random(in: 1 ... epoch, using: &random), reason: "x"))
            case (3, let id?): story.apply(.recovered(id, epoch: epoch))
            case (4, let id?):
                story.apply(.entered(id, .ready))
                story.apply(
                    .prepared(id, epoch: UInt64.random(in: 1 ... epoch + 3, using: &random)))
            case (5, nil):
                story.arrive(rank, as: next)
                held[rank] = next
                next += 1
            default: story.beat(Array(held.values))
            }
            story.apply(.tick)
            for id in story.dismissed.keys {
                if let rank = held.first(where: { $0.value == id.rawValue })?.key {
                    held[rank] = nil
                }
            }
            guard story.job.ending == nil else { break }
            if story.job.epoch < epoch { Issue.record("seed \(seed): an older epoch") }
            epoch = story.job.epoch
            let living = story.job.living
            if living.isEmpty { Issue.record("seed \(seed): nobody lives") }
            for rank in living {
                guard let id = story.job.connection(of: rank) else {
                    Issue.record("seed \(seed): \(rank) lives and is not connected")
                    return
                }
                let told = story.told[id] ?? JobEpoch(number: 1, living: living)
                if story.dismissed[id] != nil || told != JobEpoch(number: epoch, living: living) {
                    Issue.record("seed \(seed): \(rank) was told \(told)")
                }
            }
        }
    }
}
