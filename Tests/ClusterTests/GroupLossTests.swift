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
    func `a rank that was about to meet the last one of its group comes back with it`(
        hasPrepared: Bool
    ) throws {
        var story = try Self.story()
        story.arrive(1, as: 9)
        var both = JobEpoch(number: 3, living: [0, 1])
        #expect(
            story.apply(.entered(Story.id(9), .ready))
                == [.prepare(Story.id(0), both), .prepare(Story.id(9), both)])
        let gather = Gather(label: "a", members: [0, 1], epoch: 3)
        story.apply(.contributed(Story.id(9), gather, blob: [1]))
        if hasPrepared { story.apply(.prepared(Story.id(9), epoch: 3)) }
        let actions = story.apply(.closed(Story.id(0), reason: "closed"))
        #expect(actions.last == .abandon(Story.id(9), epoch: 3))
        #expect(story.job.ending == nil && story.job.living == [2, 3])
        #expect(story.job.gathers.isEmpty)
        // What it says of the epoch that will not come is nothing.
        #expect(
            story.apply(.notPrepared(Story.id(9), epoch: 3, reason: "rank 0 is gone")).isEmpty)
        #expect(Self.arrival(0, as: 10, &story) == [1])
        both.number = 4
        #expect(
            story.apply(.entered(Story.id(10), .ready))
                == [.prepare(Story.id(10), both), .prepare(Story.id(9), both)])
        #expect(story.apply(.prepared(Story.id(9), epoch: 4)).isEmpty)
        #expect(
            story.apply(.prepared(Story.id(10), epoch: 4)) == [
                .returned(0, recovering: [0, 1]), .returned(1, recovering: [0, 1]),
                .begin(Story.id(10), both), .begin(Story.id(9), both),
            ])
        story.apply(.recovered(Story.id(9), epoch: 4))
        #expect(story.apply(.recovered(Story.id(10), epoch: 4)) == [.recovered(epoch: 4)])
    }

    /// - Returns: The ranks with which a rank that comes back is told to load.
    private static func arrival(
        _ rank: Int, as connection: Int, _ story: inout Story
    ) -> [Rank]? {
        for case .welcome(_, _, let welcome) in story.arrive(rank, as: connection) {
            return welcome.returnsTo?.living
        }
        return nil
    }

    @Test func `a rank comes back alone when the others of its group stay away`() throws {
        var story = try Self.story()
        story.apply(.closed(Story.id(0), reason: "closed"))
        #expect(Self.arrival(1, as: 9, &story) == [0])
        #expect(story.apply(.entered(Story.id(9), .ready)).isEmpty)
        // 5 s to connect, and 20 s to load.
        for _ in 0 ..< 25 {
            story.beat([2, 3, 9], after: .seconds(1))
            #expect(story.apply(.tick).isEmpty)
        }
        story.beat([2, 3, 9], after: .seconds(1))
        let alone = JobEpoch(number: 3, living: [1])
        #expect(story.apply(.tick) == [.prepare(Story.id(9), alone)])
        // One that comes later meets it as a rank that serves.
        story.apply(.prepared(Story.id(9), epoch: 3))
        story.apply(.recovered(Story.id(9), epoch: 3))
        #expect(Self.arrival(0, as: 10, &story) == [1])
        let both = JobEpoch(number: 4, living: [0, 1])
        #expect(
            story.apply(.entered(Story.id(10), .ready))
                == [.prepare(Story.id(10), both), .prepare(Story.id(9), both)])
    }

    @Test func `of a group that is gone the rank that cannot come back is lost, and others wait`()
        throws
    {
        var story = try Self.story()
        story.apply(.closed(Story.id(0), reason: "closed"))
        for (rank, id) in [(0, 9), (1, 10)] {
            story.arrive(rank, as: id)
            story.apply(.entered(Story.id(id), .ready))
        }
        let actions = story.apply(.notPrepared(Story.id(10), epoch: 3, reason: "no memory"))
        #expect(actions.last == .abandon(Story.id(9), epoch: 3))
        #expect(story.dismissed.keys.contains(Story.id(10)))
        #expect(!story.dismissed.keys.contains(Story.id(9)) && story.job.candidate == nil)
        // Another group's rank need not wait for them.
        story.apply(.closed(Story.id(3), reason: "closed"))
        story.apply(.recovered(Story.id(2), epoch: 4))
        story.arrive(3, as: 11)
        story.apply(.entered(Story.id(11), .ready))
        #expect(story.job.candidate?.returning == [3])
        for id in [2, 11] { story.apply(.prepared(Story.id(id), epoch: 5)) }
        for id in [2, 11] { story.apply(.recovered(Story.id(id), epoch: 5)) }
        // The process that was started again comes back with the one that waits.
        story.arrive(1, as: 12)
        story.apply(.entered(Story.id(12), .ready))
        #expect(story.job.candidate?.returning == [0, 1])
    }

    @Test func `of a group that comes back the rank that did not meet the others is lost`() throws {
        var story = try Self.story()
        story.apply(.closed(Story.id(0), reason: "closed"))
        for (rank, id) in [(0, 9), (1, 10)] {
            story.arrive(rank, as: id)
            story.apply(.entered(Story.id(id), .ready))
        }
        let gather = Gather(label: "a", members: [0, 1], epoch: 3)
        story.apply(.contributed(Story.id(9), gather, blob: [1]))
        let actions = story.apply(.notPrepared(Story.id(9), epoch: 3, reason: "no answer"))
        #expect(actions.last == .abandon(Story.id(9), epoch: 3))
        #expect(story.dismissed.keys.contains(Story.id(10)))
        #expect(!story.dismissed.keys.contains(Story.id(9)))
        #expect(story.job.gathers.isEmpty && story.job.candidate == nil)
        #expect(
            story.job.snapshot(now: story.now).members[1].loss
                == "it did not meet rank 0 for epoch 3: no answer")
    }

    @Test func `a rank that was drained is waited for once it is on its way`() throws {
        var story = try Self.story()
        story.arrive(1, as: 9)
        story.apply(.entered(Story.id(9), .ready))
        for id in [0, 9] { story.apply(.prepared(Story.id(id), epoch: 3)) }
        for id in [0, 9] { story.apply(.recovered(Story.id(id), epoch: 3)) }
        story.apply(.drain(1))
        story.apply(.prepared(Story.id(0), epoch: 4))
        story.apply(.recovered(Story.id(0), epoch: 4))
        story.apply(.closed(Story.id(0), reason: "closed"))
        var late = story
        story.arrive(0, as: 10)
        story.apply(.entered(Story.id(10), .ready))
        #expect(story.job.candidate?.returning == [0])
        late.arrive(0, as: 10)
        late.arrive(1, as: 11)
        late.apply(.entered(Story.id(10), .ready))
        #expect(late.job.candidate == nil)
        late.apply(.entered(Story.id(11), .ready))
        #expect(late.job.candidate?.returning == [0, 1])
    }

    @Test(arguments: [false, true])
    func `a rank that waits for memory waits no more once its group is gone`(
        isDrained: Bool
    ) throws {
        var story = try Self.story()
        story.arrive(1, as: 9)
        story.apply(.entered(Story.id(9), .ready))
        if isDrained {
            for id in [0, 9] { story.apply(.prepared(Story.id(id), epoch: 3)) }
            for id in [0, 9] { story.apply(.recovered(Story.id(id), epoch: 3)) }
            story.apply(.drain(1))
            story.apply(.prepared(Story.id(0), epoch: 4))
            story.apply(.recovered(Story.id(0), epoch: 4))
            story.arrive(1, as: 11)
            story.apply(.entered(Story.id(11), .ready))
        }
        let number = try #require(story.job.candidate?.number)
        story.apply(
            .notPrepared(Story.id(0), epoch: number, reason: "no memory", lacksMemory: true))
        #expect(story.job.candidate == nil)
        if isDrained {
            story.apply(.drain(0))
            #expect(story.job.candidate?.returning == [1])
        } else {
            story.apply(.closed(Story.id(0), reason: "closed"))
            story.arrive(0, as: 10)
            story.apply(.entered(Story.id(10), .ready))
            #expect(story.job.candidate?.returning == [0, 1])
        }
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
