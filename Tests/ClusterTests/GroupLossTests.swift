import Testing
import Topology

@testable import Cluster

/// Jobs of several groups, one of which loses its last rank.
@Suite struct GroupLossTests {
    private typealias Story = LossTests.Story

    /// Groups of two ranks; rank 1 is lost, and group a has got over it.
    private static func story() throws -> Story {
        var story = Story(
            ranks: 4,
            groups: try RankGroupMap([
                RankGroup(name: "a", role: .serve, rankCount: 2),
                RankGroup(name: "b", role: .serve, rankCount: 2),
            ]))
        story.apply(.closed(Story.id(1), reason: "closed"))
        story.apply(.recovered(Story.id(0), epoch: 2))
        return story
    }

    @Test(arguments: [false, true])
    func `a rank that was about to meet the last one of its group comes back alone`(
        hasPrepared: Bool
    ) throws {
        var story = try Self.story()
        story.arrive(1, as: 9)
        let both = JobEpoch(number: 3, living: [0, 1])
        #expect(
            story.apply(.entered(Story.id(9), .ready))
                == [.prepare(Story.id(0), both), .prepare(Story.id(9), both)])
        let gather = Gather(label: "a", members: [0, 1], epoch: 3)
        story.apply(.contributed(Story.id(9), gather, blob: [1]))
        if hasPrepared { story.apply(.prepared(Story.id(9), epoch: 3)) }
        let alone = JobEpoch(number: 4, living: [1])
        let actions = story.apply(.closed(Story.id(0), reason: "closed"))
        #expect(
            actions.suffix(2) == [.abandon(Story.id(9), epoch: 3), .prepare(Story.id(9), alone)])
        #expect(story.job.ending == nil && story.job.living == [2, 3])
        #expect(story.job.gathers.isEmpty)
        // What it says of the epoch that will not come is nothing.
        #expect(
            story.apply(.notPrepared(Story.id(9), epoch: 3, reason: "rank 0 is gone")).isEmpty)
        let back = story.apply(.prepared(Story.id(9), epoch: 4))
        #expect(back.first == .returned(1, recovering: [1]))
        #expect(story.told[Story.id(9)] == alone)
        #expect(story.apply(.recovered(Story.id(9), epoch: 4)) == [.recovered(epoch: 4)])
    }

    @Test func `a rank that loads while the last one of its group is lost comes back alone`()
        throws
    {
        var story = try Self.story()
        story.arrive(1, as: 9)
        story.apply(.closed(Story.id(0), reason: "closed"))
        #expect(
            story.apply(.entered(Story.id(9), .ready))
                == [.prepare(Story.id(9), JobEpoch(number: 3, living: [1]))])
    }

    @Test func `nobody waits for a group that is gone before it got over a loss`() throws {
        var story = try Self.story()
        story.apply(.closed(Story.id(3), reason: "closed"))
        #expect(story.apply(.recovered(Story.id(2), epoch: 3)) == [.recovered(epoch: 3)])
        story.arrive(3, as: 9)
        story.apply(.entered(Story.id(9), .ready))
        for id in [2, 9] { story.apply(.prepared(Story.id(id), epoch: 4)) }
        // Rank 1 comes back while group b is about to take part in its epoch.
        story.arrive(1, as: 10)
        story.apply(.entered(Story.id(10), .ready))
        story.apply(.recovered(Story.id(9), epoch: 4))
        // The last rank that was waited for is lost, then the whole group.
        story.apply(.closed(Story.id(9), reason: "closed"))
        let actions = story.apply(.closed(Story.id(2), reason: "closed"))
        #expect(
            actions.suffix(3) == [
                .recovered(epoch: 5),
                .prepare(Story.id(0), JobEpoch(number: 6, living: [0, 1])),
                .prepare(Story.id(10), JobEpoch(number: 6, living: [0, 1])),
            ])
    }

    @Test func `ranks that read experts before another one is back have the time of a load`()
        throws
    {
        var story = Story(ranks: 3)
        for rank in [1, 2] { story.apply(.closed(Story.id(rank), reason: "closed")) }
        story.apply(.recovered(Story.id(0), epoch: 3))
        story.arrive(1, as: 9)
        story.apply(.entered(Story.id(9), .ready))
        // Rank 0 gives experts of rank 2 to rank 1: 5 s to connect, and 20 s to load.
        for _ in 0 ..< 25 { story.beat([0, 9], after: .seconds(1)) }
        #expect(story.apply(.tick).isEmpty)
        story.beat([0, 9], after: .seconds(1))
        story.apply(.tick)
        #expect(story.dismissed[Story.id(9)] != nil)
    }
}
