import Testing
import Topology

@testable import Cluster

/// Ranks that come back to a job that went on without them.
@Suite struct RankReturnTests {
    private typealias Story = LossTests.Story

    @Test func `a rank that comes back prepares while others serve, then takes part`() {
        var story = Story(ranks: 3)
        story.apply(.closed(Story.id(1), reason: "closed"))
        for rank in [0, 2] { story.apply(.recovered(Story.id(rank), epoch: 2)) }
        var welcome = Welcome(epoch: 2, rankCount: 3)
        welcome.returnsTo = JobEpoch(number: 2, living: [0, 2])
        #expect(story.arrive(1, as: 9) == [.welcome(Story.id(9), 1, welcome)])
        // It may vanish once more on its way.
        let gone = story.apply(.closed(Story.id(9), reason: "closed again"))
        #expect(!gone.contains { if case .lost = $0 { true } else { false } })
        #expect(story.job.epoch == 2)
        story.arrive(1, as: 10)
        story.apply(.entered(Story.id(10), .load))
        #expect(story.job.epoch == 2)
        let next = JobEpoch(number: 3, living: [0, 1, 2])
        #expect(
            story.apply(.entered(Story.id(10), .ready))
                == [0, 10, 2].map { .prepare(Story.id($0), next) })
        // The others serve in epoch 2 until all reach each other.
        #expect(story.job.epoch == 2 && !story.job.isRecovering)
        for connection in [0, 10] {
            #expect(story.apply(.prepared(Story.id(connection), epoch: 3)).isEmpty)
        }
        let actions = story.apply(.prepared(Story.id(2), epoch: 3))
        #expect(actions.first == .returned(1, recovering: [0, 1, 2]))
        #expect(story.told[Story.id(10)] == next)
        for connection in [0, 2] {
            #expect(story.apply(.recovered(Story.id(connection), epoch: 3)).isEmpty)
        }
        #expect(story.apply(.recovered(Story.id(10), epoch: 3)) == [.recovered(epoch: 3)])
    }

    @Test func `a rank that the others do not reach stays away, and nobody waits for it`() {
        var story = Story(ranks: 3)
        story.apply(.closed(Story.id(1), reason: "closed"))
        for rank in [0, 2] { story.apply(.recovered(Story.id(rank), epoch: 2)) }
        story.arrive(1, as: 9)
        story.apply(.entered(Story.id(9), .ready))
        let actions = story.apply(.notPrepared(Story.id(0), epoch: 3, reason: "no route"))
        #expect(
            story.job.snapshot(now: story.now).members[1].loss
                == "rank 0 is not ready for it: no route")
        #expect(story.dismissed[Story.id(9)] != nil)
        // The others let go of the fabric that they made for it.
        for other in [0, 2] {
            #expect(actions.contains(.abandon(Story.id(other), epoch: 3)))
        }
        #expect(story.job.epoch == 2 && story.job.living == [0, 2])
        // The same where one says nothing.
        story.arrive(1, as: 10)
        story.apply(.entered(Story.id(10), .ready))
        story.apply(.prepared(Story.id(0), epoch: 4))
        for _ in 0 ..< 21 { story.beat([0, 2, 10], after: .seconds(1)) }
        story.apply(.tick)
        #expect(story.dismissed[Story.id(10)] != nil)
        #expect(
            story.job.snapshot(now: story.now).members[1].loss
                == "rank 1, rank 2 was not ready for it within 20 s: the job goes on without"
                + " rank 1")
        #expect(story.job.epoch == 2)
    }

    /// Rank 1 of three is ready to come back, and rank 0 has no memory for that.
    private static func withoutMemory() -> (story: Story, actions: [Membership.Action]) {
        var story = Story(ranks: 3)
        story.apply(.closed(Story.id(1), reason: "closed"))
        for rank in [0, 2] { story.apply(.recovered(Story.id(rank), epoch: 2)) }
        story.arrive(1, as: 9)
        story.apply(.entered(Story.id(9), .ready))
        let actions = story.apply(
            .notPrepared(Story.id(0), epoch: 3, reason: "no memory", lacksMemory: true))
        return (story, actions)
    }

    @Test func `a rank without memory to come back keeps what it loaded, and tries again`() {
        var (story, actions) = Self.withoutMemory()
        #expect(story.dismissed[Story.id(9)] == nil)
        #expect(story.job.connection(of: 1) == Story.id(9))
        for connection in [0, 9, 2] {
            #expect(actions.contains(.abandon(Story.id(connection), epoch: 3)))
        }
        #expect(actions.contains { if case .warn = $0 { true } else { false } })
        let next = JobEpoch(number: 4, living: [0, 1, 2])
        let prepares = [0, 9, 2].map { Membership.Action.prepare(Story.id($0), next) }
        for _ in 0 ..< 14 {
            story.beat([0, 9, 2], after: .seconds(1))
            #expect(story.apply(.tick).isEmpty)
        }
        story.beat([0, 9, 2], after: .seconds(1))
        #expect(story.apply(.tick) == prepares)
        // The next time it waits twice as long.
        story.apply(.notPrepared(Story.id(2), epoch: 4, reason: "no memory", lacksMemory: true))
        for _ in 0 ..< 29 {
            story.beat([0, 9, 2], after: .seconds(1))
            #expect(story.apply(.tick).isEmpty)
        }
        story.beat([0, 9, 2], after: .seconds(1))
        #expect(story.apply(.tick).count == 3)
        for connection in [0, 9, 2] {
            story.apply(.prepared(Story.id(connection), epoch: 5))
        }
        #expect(story.job.living == [0, 1, 2])
    }

    @Test func `a rank without memory tries again at once when others take part`() {
        var (story, _) = Self.withoutMemory()
        story.apply(.closed(Story.id(2), reason: "closed"))
        let actions = story.apply(.recovered(Story.id(0), epoch: 4))
        let next = JobEpoch(number: 5, living: [0, 1])
        #expect(
            actions == [.recovered(epoch: 4)] + [0, 9].map { .prepare(Story.id($0), next) })
    }

    @Test func `a rank that waits for memory and goes away is started anew like any other`() {
        var (story, _) = Self.withoutMemory()
        story.apply(.closed(Story.id(9), reason: "closed again"))
        story.arrive(1, as: 10)
        let actions = story.apply(.entered(Story.id(10), .ready))
        #expect(actions.count == 3, "a process that loaded anew waits for nothing: \(actions)")
    }

    @Test func `a loss while a rank comes back voids its epoch, and it comes in the next`() {
        var story = Story(ranks: 4)
        story.apply(.closed(Story.id(1), reason: "closed"))
        for rank in [0, 2, 3] { story.apply(.recovered(Story.id(rank), epoch: 2)) }
        story.arrive(1, as: 9)
        story.apply(.entered(Story.id(9), .ready))
        let gather = Gather(label: "a", members: [0, 1, 2, 3], epoch: 3)
        story.apply(.contributed(Story.id(9), gather, blob: [1]))
        let lost = story.apply(.closed(Story.id(3), reason: "closed"))
        #expect(story.told[Story.id(0)] == JobEpoch(number: 4, living: [0, 2]))
        // It stops to read for it; the others know by the next epoch.
        let ends = lost.filter { if case .abandon = $0 { true } else { false } }
        #expect(ends == [.abandon(Story.id(9), epoch: 3)])
        #expect(story.job.gathers.isEmpty)
        #expect(story.apply(.prepared(Story.id(0), epoch: 3)).isEmpty)
        story.apply(.recovered(Story.id(0), epoch: 4))
        let next = JobEpoch(number: 5, living: [0, 1, 2])
        #expect(
            story.apply(.recovered(Story.id(2), epoch: 4))
                == [.recovered(epoch: 4)] + [0, 9, 2].map { .prepare(Story.id($0), next) })
    }

    @Test func `a return that comes to nothing many times leaves nothing behind`() {
        var story = Story(ranks: 2)
        story.apply(.closed(Story.id(1), reason: "closed"))
        story.apply(.recovered(Story.id(0), epoch: 2))
        for round in 0 ..< 100 {
            let id = Story.id(100 + round)
            story.arrive(1, as: id.rawValue)
            story.apply(.entered(id, .ready))
            let gather = Gather(
                label: "a", members: [0, 1], epoch: story.job.candidate?.number ?? 0)
            #expect(story.apply(.contributed(Story.id(0), gather, blob: [1])).isEmpty)
            story.apply(.closed(id, reason: "closed"))
            story.beat([0])
        }
        #expect(story.job.living == [0] && story.job.ending == nil)
    }
}
