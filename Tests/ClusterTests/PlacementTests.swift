import Encoding
import Testing
import Topology

@testable import Cluster

/// Jobs whose experts are placed anew while they serve.
@Suite struct PlacementTests {
    /// Two layers of 4 experts on 2 ranks.
    static let first = [ExpertPlacement](repeating: placement([[0, 1], [2, 3]]), count: 2)
    static let swapped = [placement([[0, 2], [1, 3]]), placement([[0, 1], [2, 3]])]

    static func placement(_ experts: [[ExpertID]]) -> ExpertPlacement {
        do {
            return try ExpertPlacement(expertCount: 4, expertsByRank: experts)
        } catch { preconditionFailure("\(error)") }
    }

    /// Of 2 layers with 2 experts each.
    static func counts(_ values: [UInt32]) -> ExpertCounts {
        guard let counts = ExpertCounts(layerCount: 2, expertCount: 2, values: values) else {
            preconditionFailure("\(values)")
        }
        return counts
    }

    /// A job of two ranks that is ready.
    static func story(
        interval: Duration? = nil, survives: Bool = true, isReady: Bool = true
    ) -> LossTests.Story {
        LossTests.Story(ranks: 2, isReady: isReady) {
            $0.placements = [first]
            $0.rebalanceInterval = interval
            $0.survivesLosses = survives
        }
    }

    private static func id(_ number: Int) -> ConnectionID { LossTests.Story.id(number) }

    @Test func `ranks prepare while they serve, then a new epoch has the new places`() {
        var story = Self.story()
        let next = JobEpoch(number: 2, living: [0, 1], placements: Self.swapped)
        #expect(
            story.apply(.place(Self.swapped, group: 0)) == [
                .placing(group: 0, .begun(epoch: 2, before: 1, after: 1)),
                .prepare(Self.id(0), next), .prepare(Self.id(1), next),
            ])
        #expect(story.job.epoch == 1 && !story.job.isRecovering)
        #expect(story.job.placementReport(now: story.now).groups[0].preparing == 2)
        #expect(story.apply(.prepared(Self.id(1), epoch: 2)).isEmpty)
        #expect(
            story.apply(.prepared(Self.id(0), epoch: 2)) == [
                .placing(group: 0, .placed(epoch: 2)), .begin(Self.id(0), next),
                .begin(Self.id(1), next),
            ])
        #expect(story.apply(.recovered(Self.id(0), epoch: 2)).isEmpty)
        #expect(story.apply(.recovered(Self.id(1), epoch: 2)) == [.recovered(epoch: 2)])
        let group = story.job.placementReport(now: story.now).groups[0]
        #expect(group.placements == Self.swapped && group.preparing == nil && group.epoch == 2)
        // Whoever is left later, and whoever comes back, knows the places of that epoch.
        story.apply(.closed(Self.id(1), reason: "closed"))
        #expect(
            story.told[Self.id(0)] == JobEpoch(number: 3, living: [0], placements: Self.swapped))
        var welcome = Welcome(epoch: 3, rankCount: 2)
        welcome.returnsTo = JobEpoch(number: 3, living: [0], placements: Self.swapped)
        #expect(story.arrive(1, as: 9) == [.welcome(Self.id(9), 1, welcome)])
    }

    @Test func `a rank that is lost meanwhile wins: its epoch begins, and the places stay`() {
        var story = Self.story()
        story.apply(.place(Self.swapped, group: 0))
        story.apply(.prepared(Self.id(0), epoch: 2))
        let actions = story.apply(.closed(Self.id(1), reason: "closed"))
        #expect(actions.contains(.abandon(Self.id(0), epoch: 2)))
        #expect(story.told[Self.id(0)] == JobEpoch(number: 3, living: [0]))
        #expect(story.apply(.prepared(Self.id(0), epoch: 2)).isEmpty)
        let group = story.job.placementReport(now: story.now).groups[0]
        #expect(group.placements == Self.first && group.preparing == nil)
        #expect(group.dropped?.epoch == 2)
        #expect(group.dropped?.reason.contains("rank 1 was lost: closed") == true)
        #expect(
            story.job.refusal(of: Self.swapped, group: 0)
                == "2 copies of layer 0 on rank 1 of the group, which is lost: what it holds when"
                + " it comes back stays")
    }

    @Test func `a rank that cannot read, or does not in time, costs the placement alone`() {
        var story = Self.story()
        story.apply(.place(Self.swapped, group: 0))
        let actions = story.apply(
            .notPrepared(Self.id(1), epoch: 2, reason: "the disk is gone"))
        let reason = "rank 1 is not ready for it: the disk is gone"
        #expect(
            actions == [
                .placing(group: 0, .dropped(epoch: 2, reason: reason)),
                .abandon(Self.id(0), epoch: 2), .abandon(Self.id(1), epoch: 2),
            ])
        #expect(story.job.living == [0, 1] && story.job.epoch == 1)
        // The time for meeting and reading is that of the start: 25 s.
        story.apply(.place(Self.swapped, group: 0))
        story.apply(.prepared(Self.id(0), epoch: 3))
        for _ in 0 ..< 25 { story.beat([0, 1], after: .seconds(1)) }
        #expect(story.apply(.tick).isEmpty)
        story.beat([0, 1], after: .seconds(1))
        #expect(story.apply(.tick).contains(.abandon(Self.id(0), epoch: 3)))
        #expect(story.job.living == [0, 1] && story.job.epoch == 1)
    }

    @Test func `what does not fit the job is refused with what does`() {
        let ready = Self.story().job
        let wide = Self.placement([[0, 1, 2], [2, 3]])
        let three = Self.placement([[0, 1], [2], [3]])
        for (placements, group, words) in [
            (Self.swapped, 1, "group 1 is not one of 1"),
            ([Self.swapped[0]], 0, "placements of 1 layers: the model has 2"),
            ([wide, wide], 0, "3 copies of layer 0 on rank 0 of the group: it has room for 2"),
            ([three, three], 0, "layer 0 has 4 experts on 3 ranks: the group has 4 on 2"),
            (Self.first, 0, "the experts are there already"),
        ] {
            let reason = ready.refusal(of: placements, group: group)
            #expect(reason?.contains(words) == true, "\(reason ?? "taken")")
        }
        let fragile = Self.story(survives: false).job
        #expect(fragile.refusal(of: Self.swapped, group: 0)?.contains("onLostRank") == true)
        let early = Self.story(isReady: false).job
        #expect(early.refusal(of: Self.swapped, group: 0)?.contains("not ready") == true)
        var busy = Self.story()
        busy.apply(.place(Self.swapped, group: 0))
        #expect(
            busy.job.refusal(of: Self.first, group: 0) == "epoch 2 is being prepared already")
    }

    @Test func `counts add up, and counts of another model are left out, as is said once`() {
        var story = Self.story()
        var counts = ExpertCounts(layerCount: 2, expertCount: 4)
        counts.add([0, 0, 3], layer: 1)
        for rank in [0, 1] { #expect(story.apply(.counted(Self.id(rank), counts)).isEmpty) }
        #expect(
            story.job.placementReport(now: story.now).groups[0].loads
                == [[0, 0, 0, 0], [4, 0, 0, 2]])
        #expect(story.job.balances()[0].ratios == [4.0 / 3, 2.0 / 3])
        #expect(story.job.balances()[0].imbalance == 4.0 / 3)
        let odd = Self.counts([1, 2, 3, 4])
        #expect(
            story.apply(.counted(Self.id(1), odd)) == [
                .warn(
                    "what rank 1 counts is left out: counts of 2 layers with 2 experts: the model"
                        + " has 2 with 4")
            ])
        #expect(story.apply(.counted(Self.id(1), odd)).isEmpty)
        #expect(story.job.living == [0, 1])
        #expect(story.job.balances()[0].imbalance == 4.0 / 3)
    }

    @Test func `where the job says so a better placement is taken when enough was counted`() {
        var story = Self.story(interval: .seconds(30))
        var counts = ExpertCounts(layerCount: 2, expertCount: 4)
        counts.add([Int32](repeating: 0, count: 60) + [1, 1], layer: 0)
        counts.add([Int32](repeating: 1, count: 50), layer: 0)
        story.apply(.counted(Self.id(0), counts))
        for _ in 0 ..< 2 {
            for _ in 0 ..< 31 { story.beat([0, 1], after: .seconds(1)) }
            // 112 choices of 4 experts are chance.
            #expect(story.apply(.tick).isEmpty)
        }
        for _ in 0 ..< 4 { story.apply(.counted(Self.id(0), counts)) }
        for _ in 0 ..< 31 { story.beat([0, 1], after: .seconds(1)) }
        let actions = story.apply(.tick)
        guard case .placing(group: 0, .begun(epoch: 2, let before, let after))? = actions.first
        else {
            Issue.record("\(actions)")
            return
        }
        #expect(before > 1.9 && after < 1.2)
        for rank in [0, 1] { story.apply(.prepared(Self.id(rank), epoch: 2)) }
        for rank in [0, 1] { story.apply(.recovered(Self.id(rank), epoch: 2)) }
        #expect(story.job.balances()[0].imbalance < 1.2)
        // It is as good as it gets.
        for _ in 0 ..< 31 { story.beat([0, 1], after: .seconds(1)) }
        #expect(story.apply(.tick).isEmpty)
    }

    /// Placements among losses, returns and late answers, in any order.
    @Test(arguments: 0 ..< 5)
    func `whatever happens, all ranks of a group were told the same places of one epoch`(
        thousand: UInt64
    ) {
        for seed in thousand * 1000 ..< (thousand + 1) * 1000 { Self.check(seed) }
    }

    private static func check(_ seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var story = story()
        var held: [Int: Int] = [0: 0, 1: 1]
        var next = 100
        for _ in 0 ..< 80 {
            let rank = Int.random(in: 0 ..< 2, using: &random)
            story.now += .milliseconds(Int.random(in: 0 ... 600, using: &random))
            let number = story.job.candidate?.number ?? story.job.epoch
            switch (Int.random(in: 0 ..< 10, using: &random), held[rank].map(id)) {
            case (0, let id?):
                story.apply(.closed(id, reason: "closed"))
                held[rank] = nil
            case (1, let id?): story.apply(.notPrepared(id, epoch: number, reason: "x"))
            case (2, nil):
                story.arrive(rank, as: next)
                held[rank] = next
                next += 1
            case (3 ... 4, _):
                story.apply(
                    .place(Bool.random(using: &random) ? swapped : first, group: 0))
            case (5 ... 6, let id?): story.apply(.prepared(id, epoch: number))
            case (7, let id?): story.apply(.recovered(id, epoch: story.job.epoch))
            case (8, let id?): story.apply(.entered(id, .ready))
            default: story.beat(Array(held.values))
            }
            story.apply(.tick)
            for id in story.dismissed.keys {
                held = held.filter { $0.value != id.rawValue }
            }
            guard story.job.ending == nil else { break }
            if let candidate = story.job.candidate, case .placements = candidate.purpose,
                story.job.living != [0, 1]
            {
                Issue.record("seed \(seed): places are prepared without a rank")
            }
            for rank in story.job.living {
                guard let id = story.job.connection(of: rank), let told = story.told[id] else {
                    continue
                }
                if told.number != story.job.epoch || told.placements != story.job.moved[0] {
                    Issue.record("seed \(seed): \(rank) was told \(told)")
                }
            }
        }
    }
}
