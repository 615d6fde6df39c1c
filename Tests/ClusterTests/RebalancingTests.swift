import Testing
import Topology

@testable import Cluster

/// Jobs that place their experts anew by themselves, and leave epochs for losses.
@Suite struct RebalancingTests {
    private typealias Story = LossTests.Story

    /// Two experts of one rank that get almost all tokens of layer 0.
    private static let uneven = {
        var counts = ExpertCounts(layerCount: 2, expertCount: 4)
        counts.add([Int32](repeating: 0, count: 600), layer: 0)
        counts.add([Int32](repeating: 1, count: 520), layer: 0)
        return counts
    }()

    @Test func `after each drop the next search comes twice as late, up to 32 times`() {
        var story = PlacementTests.story(interval: .seconds(30))
        var last = Duration.zero
        for drops in 0 ..< 7 {
            let next = last + .seconds(30 * min(32, 1 << drops))
            while story.now + .seconds(1) < next { story.beat([0, 1], after: .seconds(1)) }
            story.apply(.counted(Story.id(0), Self.uneven))
            #expect(story.apply(.tick).isEmpty, "after \(drops) drops")
            story.beat([0, 1], after: .seconds(1))
            let number = UInt64(drops + 2)
            let first = story.apply(.tick).first
            guard case .placing(group: 0, .begun(epoch: number, _, _))? = first else {
                Issue.record("after \(drops) drops: \(first.map { "\($0)" } ?? "nothing")")
                return
            }
            story.apply(.notPrepared(Story.id(1), epoch: number, reason: "the disk is gone"))
            last = story.now
        }
        // One that is taken makes the job as eager as before.
        #expect(story.job.searches.patience == 32)
        story.apply(.place(PlacementTests.swapped, group: 0))
        for rank in [0, 1] { story.apply(.prepared(Story.id(rank), epoch: 9)) }
        #expect(story.job.epoch == 9 && story.job.searches.patience == 1)
    }

    @Test func `no placement begins by itself in the second half of the epochs`() {
        var story = Story(ranks: 2) {
            $0.placements = [PlacementTests.first]
            $0.rebalanceInterval = .seconds(30)
            $0.epoch = Membership.lastRebalancing
        }
        var warnings: [Membership.Action] = []
        for _ in 0 ..< 3 {
            for _ in 0 ..< 31 { story.beat([0, 1], after: .seconds(1)) }
            story.apply(.counted(Story.id(0), Self.uneven))
            warnings += story.apply(.tick)
        }
        #expect(
            warnings == [
                .warn(
                    "no placement begins by itself after epoch 32767: the limit is 32767 of 65535,"
                        + " so that losses and returns have epochs left")
            ])
        #expect(story.job.refusal(of: PlacementTests.swapped, group: 0) == nil)
    }

    @Test func `a loss that finds the last epoch taken by another group's return ends the job`()
        throws
    {
        let groups = try RankGroupMap([
            RankGroup(name: "a", role: .serve, rankCount: 2),
            RankGroup(name: "b", role: .serve, rankCount: 2),
        ])
        let most = ExpertMap.maximumEpoch
        var story = Story(ranks: 4, groups: groups) {
            $0.placements = [PlacementTests.first, PlacementTests.first]
            $0.epoch = most - 3
        }
        story.apply(.closed(Story.id(3), reason: "closed"))
        story.apply(.recovered(Story.id(2), epoch: most - 2))
        story.apply(.place(PlacementTests.swapped, group: 0))
        #expect(story.job.candidate?.number == most - 1)
        story.arrive(3, as: 9)
        story.apply(.entered(Story.id(9), .ready))
        // The placement is dropped, so that rank 3 may come back: in the last epoch.
        let actions = story.apply(.closed(Story.id(1), reason: "closed"))
        #expect(story.job.lastNumber == most)
        guard case .end(.lost(rank: 1, phase: _, epoch: _, reason: _))? = actions.last else {
            Issue.record("\(actions)")
            return
        }
    }
}
