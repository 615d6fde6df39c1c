import Encoding
import Testing
import Topology

@testable import Cluster

/// Ranks that leave on purpose.
@Suite struct RankDrainTests {
    private typealias Story = LossTests.Story

    private static let away = "drained: it comes back by apus scale, or started by hand"

    /// Rank 1 of three leaves.
    private static func drained() -> Story {
        var story = Story(ranks: 3)
        story.apply(.drain(1))
        for rank in [0, 2] { story.apply(.prepared(Story.id(rank), epoch: 2)) }
        for rank in [0, 2] { story.apply(.recovered(Story.id(rank), epoch: 2)) }
        return story
    }

    @Test func `the others prepare while all serve, then a rank leaves in order`() {
        var story = Story(ranks: 3)
        let next = JobEpoch(number: 2, living: [0, 2])
        #expect(
            story.apply(.drain(1)) == [
                .draining(1), .prepare(Story.id(0), next), .prepare(Story.id(2), next),
            ])
        #expect(story.job.living == [0, 1, 2] && story.job.epoch == 1)
        #expect(story.job.snapshot(now: story.now).members[1].drain == .leaving)
        #expect(story.apply(.prepared(Story.id(0), epoch: 2)).isEmpty)
        let away = DrainedRanks(number: 2, ranks: [1])
        #expect(
            story.apply(.prepared(Story.id(2), epoch: 2)) == [
                .drained(1, recovering: [0, 2]),
                .sendDrained(Story.id(0), away), .sendDrained(Story.id(2), away),
                .begin(Story.id(0), next), .begin(Story.id(2), next),
                .dismiss(Story.id(1), .drained(rank: 1)),
            ])
        #expect(JobEnd.drained(rank: 1).exitStatus == .done)
        let member = story.job.snapshot(now: story.now).members[1]
        #expect(member.drain == .left && member.loss == Self.away)
        // Its connection closes, which is no loss.
        #expect(story.apply(.closed(Story.id(1), reason: "closed")).isEmpty)
        story.apply(.recovered(Story.id(0), epoch: 2))
        #expect(story.apply(.recovered(Story.id(2), epoch: 2)) == [.recovered(epoch: 2)])
    }

    @Test func `a rank that was drained comes back like one that was lost`() {
        var story = Self.drained()
        story.arrive(1, as: 9)
        let refusal = story.job.drainRefusal(of: 1)
        #expect(refusal == "rank 1 is drained already, and about to come back")
        story.apply(.entered(Story.id(9), .ready))
        for id in [0, 9] { story.apply(.prepared(Story.id(id), epoch: 3)) }
        let nobody = DrainedRanks(number: 3, ranks: [])
        let actions = story.apply(.prepared(Story.id(2), epoch: 3))
        for id in [0, 9, 2] { #expect(actions.contains(.sendDrained(Story.id(id), nobody))) }
        #expect(story.told[Story.id(9)] == JobEpoch(number: 3, living: [0, 1, 2]))
        #expect(story.job.snapshot(now: story.now).members[1].drain == nil)
        for id in [0, 9, 2] { story.apply(.recovered(Story.id(id), epoch: 3)) }
        #expect(story.job.drainRefusal(of: 1) == nil)
    }

    @Test func `what a drain cannot do is refused by name`() throws {
        let lone = Story(ranks: 1)
        #expect(
            lone.job.drainRefusal(of: 0)
                == "rank 0 is the last one that serves: to end the job, drain without a rank")
        #expect(
            lone.job.drainRefusal(of: 7) == "rank 7 is out of range: the job has 1 ranks, from 0")
        var story = Story(ranks: 3)
        story.apply(.drain(1))
        #expect(story.job.drainRefusal(of: 1) == "rank 1 is being drained already")
        #expect(
            story.job.drainRefusal(of: 2)
                == "epoch 2 is being prepared: ask again when it has begun")
        #expect(story.apply(.drain(2)).isEmpty)
        story = Self.drained()
        #expect(story.job.drainRefusal(of: 1) == "rank 1 is drained already")
        #expect(story.job.drainRefusal(of: 0) == nil, "two of three may be away")
        story.apply(.closed(Story.id(2), reason: "closed"))
        #expect(story.job.drainRefusal(of: 2) == "rank 2 is lost: closed")
        #expect(story.job.drainRefusal(of: 0) == "rank 2 is lost: ask again when it is back")
        let mortal = Story(ranks: 2) { $0.survivesLosses = false }
        #expect(mortal.job.drainRefusal(of: 0)?.contains("onLostRank: end") == true)
        let young = Story(ranks: 2, isReady: false)
        #expect(young.job.drainRefusal(of: 0)?.hasPrefix("the job is in phase connect") == true)
        let roles = try RankGroupMap([
            RankGroup(name: "p", role: .prefill, rankCount: 1),
            RankGroup(name: "d", role: .decode, rankCount: 2),
        ])
        let apart = Story(ranks: 3, groups: roles)
        #expect(apart.job.drainRefusal(of: 0) == nil, "the others do its work")
        #expect(apart.job.drainRefusal(of: 1) == nil)
    }

    @Test func `a rank that is lost keeps ranks of its group from leaving, and no others`() throws {
        let groups = try RankGroupMap([
            RankGroup(name: "a", role: .serve, rankCount: 2),
            RankGroup(name: "b", role: .serve, rankCount: 2),
        ])
        var story = Story(ranks: 4, groups: groups)
        story.apply(.closed(Story.id(1), reason: "closed"))
        story.apply(.recovered(Story.id(0), epoch: 2))
        #expect(story.job.drainRefusal(of: 0) == "rank 1 is lost: ask again when it is back")
        #expect(story.job.drainRefusal(of: 3) == nil)
    }

    @Test func `the last rank of a role leaves with a warning, the last one of all does not`()
        throws
    {
        let roles = try RankGroupMap([
            RankGroup(name: "p", role: .prefill, rankCount: 1),
            RankGroup(name: "d", role: .decode, rankCount: 1),
        ])
        var story = Story(ranks: 2, groups: roles)
        #expect(
            story.apply(.drain(0)) == [
                .warn(
                    "rank 0 is the last one that has role prefill: until one is back, ranks of"
                        + " another role do its work"),
                .draining(0), .drained(0, recovering: []),
                .sendDrained(Story.id(1), DrainedRanks(number: 2, ranks: [0])),
                .dismiss(Story.id(0), .drained(rank: 0)),
            ])
        #expect(
            story.job.drainRefusal(of: 1)
                == "rank 1 is the last one that serves: to end the job, drain without a rank")
    }

    @Test func `ranks are shown with the role that they have now, and the last one counts by it`()
        throws
    {
        let roles = try RankGroupMap([
            RankGroup(name: "p", role: .prefill, rankCount: 1),
            RankGroup(name: "d", role: .decode, rankCount: 2),
        ])
        var story = Story(ranks: 3, groups: roles)
        story.job.note(.prefill, of: [1, 2])
        story.job.note(.decode, of: [0])
        let members = story.job.snapshot(now: .zero).members
        #expect(members.map(\.title) == ["0 decode", "1 prefill", "2 prefill"])
        let actions = story.apply(.drain(0))
        #expect(
            actions.first
                == .warn(
                    "rank 0 is the last one that has role decode: until one is back, ranks of"
                        + " another role do its work"))
    }

    @Test func `the job's epoch does not go back when a drain ends after a later one began`()
        throws
    {
        let groups = try RankGroupMap([
            RankGroup(name: "a", role: .serve, rankCount: 2),
            RankGroup(name: "b", role: .serve, rankCount: 2),
        ])
        var story = Story(ranks: 4, groups: groups)
        story.apply(.drain(1))
        story.apply(.closed(Story.id(3), reason: "closed"))
        #expect(story.job.epoch == 3)
        story.apply(.prepared(Story.id(0), epoch: 2))
        #expect(story.told[Story.id(0)] == JobEpoch(number: 2, living: [0]))
        #expect(story.job.epoch == 3)
    }

    @Test func `a rank that is lost meanwhile, cannot read, or is late costs the drain alone`() {
        var story = Story(ranks: 4)
        story.apply(.drain(1))
        let lost = story.apply(.closed(Story.id(3), reason: "closed"))
        let next = JobEpoch(number: 3, living: [0, 1, 2])
        // The rank that stays takes texts again before those of the lost one move.
        #expect(
            lost.prefix(6) == [
                .dismiss(
                    Story.id(3), .lost(rank: 3, phase: .ready, epoch: 1, reason: "closed")),
                .notDrained(1, reason: "rank 3 was lost: closed"),
                .abandon(Story.id(0), epoch: 2), .abandon(Story.id(2), epoch: 2),
                .lost(3, reason: "closed", recovering: [0, 1, 2]), .begin(Story.id(0), next),
            ])
        #expect(story.told[Story.id(1)] == next)
        // The one that was to leave is lost itself.
        story = Story(ranks: 3)
        story.apply(.drain(1))
        let gone = story.apply(.closed(Story.id(1), reason: "closed"))
        #expect(gone.contains(.notDrained(1, reason: "rank 1 was lost: closed")))
        #expect(story.job.snapshot(now: story.now).members[1].drain == nil)
        #expect(story.told[Story.id(0)] == JobEpoch(number: 3, living: [0, 2]))
        story = Story(ranks: 3)
        story.apply(.drain(1))
        #expect(
            story.apply(.notPrepared(Story.id(0), epoch: 2, reason: "no memory")) == [
                .notDrained(1, reason: "rank 0 is not ready for it: no memory"),
                .abandon(Story.id(0), epoch: 2), .abandon(Story.id(2), epoch: 2),
            ])
        story.apply(.drain(1))
        story.apply(.prepared(Story.id(0), epoch: 3))
        for _ in 0 ..< 26 { story.beat([0, 1, 2], after: .seconds(1)) }
        #expect(
            story.apply(.tick).first
                == .notDrained(1, reason: "rank 2 was not ready for it within 25 s"))
        #expect(story.job.living == [0, 1, 2] && story.job.epoch == 1)
        #expect(story.job.drainRefusal(of: 1) == nil)
    }

    @Test func `the only rank of a group leaves at once, where another group serves`() throws {
        let groups = try RankGroupMap([
            RankGroup(name: "a", role: .serve, rankCount: 1),
            RankGroup(name: "b", role: .serve, rankCount: 1),
        ])
        var story = Story(ranks: 2, groups: groups)
        #expect(
            story.apply(.drain(0)) == [
                .draining(0), .drained(0, recovering: []),
                .sendDrained(Story.id(1), DrainedRanks(number: 2, ranks: [0])),
                .dismiss(Story.id(0), .drained(rank: 0)),
            ])
        #expect(story.job.drainRefusal(of: 1)?.contains("the last one that serves") == true)
        story.arrive(0, as: 9)
        let alone = JobEpoch(number: 3, living: [0])
        #expect(story.apply(.entered(Story.id(9), .ready)) == [.prepare(Story.id(9), alone)])
    }

    /// Drains, losses and returns in any order, of all ranks together and of two groups.
    @Test(arguments: 0 ..< 5, [1, 2])
    func `whatever happens, who lives knows the epoch, and who is drained is never lost`(
        thousand: UInt64, groupCount: Int
    ) throws {
        let groups =
            groupCount == 1
            ? nil
            : try RankGroupMap([
                RankGroup(name: "a", role: .serve, rankCount: 2),
                RankGroup(name: "b", role: .serve, rankCount: 2),
            ])
        var left = 0
        for seed in thousand * 1000 ..< (thousand + 1) * 1000 {
            var course = Course(seed: seed, story: Story(ranks: 4, groups: groups))
            course.run()
            left += course.left
        }
        #expect(left > 100)
    }

    /// A job of four ranks to which anything happens.
    private struct Course {
        let seed: UInt64
        var story: Story
        /// The connection of each rank that has one.
        var held = [0: 0, 1: 1, 2: 2, 3: 3]
        /// Ranks that are about to leave, as the actions say it.
        var open: Set<Rank> = []
        /// How many ranks left on purpose.
        var left = 0
        /// The highest epoch of the job.
        var highest: UInt64 = 0

        mutating func run() {
            var random = SplitMix64(seed: seed)
            var next = 100
            for _ in 0 ..< 80 {
                let rank = Int.random(in: 0 ..< 4, using: &random)
                story.now += .milliseconds(Int.random(in: 0 ... 600, using: &random))
                let number = story.job.candidate?.number ?? story.job.epoch
                switch (Int.random(in: 0 ..< 12, using: &random), held[rank].map(Story.id)) {
                case (0, let id?) where held.count > 1:
                    apply(.closed(id, reason: "closed"))
                    held[rank] = nil
                case (1, nil):
                    apply(.arrived(Story.id(next), MembershipTests.hello(Rank(rawValue: rank))))
                    held[rank] = next
                    next += 1
                case (2 ... 3, _): apply(.drain(Rank(rawValue: rank)))
                case (4 ... 7, let id?):
                    // One of so many cannot read, so that most drains come to their end.
                    let isReady = Int.random(in: 0 ..< 32, using: &random) > 0
                    apply(
                        isReady
                            ? .prepared(id, epoch: number)
                            : .notPrepared(id, epoch: number, reason: "no memory"))
                case (8 ... 10, let id?):
                    apply(.recovered(id, epoch: story.told[id]?.number ?? 1))
                case (11, let id?): apply(.entered(id, .ready))
                default: break
                }
                story.beat(Array(held.values))
                apply(.tick)
                for id in story.dismissed.keys { held = held.filter { $0.value != id.rawValue } }
                guard story.job.ending == nil else { return }
                checkEpochs()
            }
        }

        /// Each drain begins once and ends once, and while it lasts the ranks prepare for it.
        private mutating func apply(_ event: Membership.Event) {
            for action in story.apply(event) {
                switch action {
                case .draining(let rank):
                    let isNew = open.insert(rank).inserted
                    fail(unless: isNew, "\(rank) is about to leave twice")
                case .notDrained(let rank, _):
                    let wasOpen = open.remove(rank) != nil
                    fail(unless: wasOpen, "\(rank) stays, and was not about to leave")
                case .drained(let rank, let staying):
                    let wasOpen = open.remove(rank) != nil
                    fail(unless: wasOpen, "\(rank) left, and was not about to leave")
                    let others = story.job.living(with: rank)
                    fail(
                        unless: !staying.contains(rank) && staying == others,
                        "\(rank) left \(staying)")
                    left += 1
                case .lost(let rank, _, _):
                    let drain = story.job.members[rank.rawValue].drain
                    fail(unless: drain == nil, "\(rank) is drained and lost")
                default: break
                }
            }
            var leaving: Set<Rank> = []
            if case .draining(let rank)? = story.job.candidate?.purpose { leaving = [rank] }
            fail(unless: open == leaving, "\(open) leave, and ranks prepare for \(leaving)")
        }

        private mutating func checkEpochs() {
            fail(unless: story.job.epoch >= highest, "epoch \(story.job.epoch) goes back")
            highest = max(highest, story.job.epoch)
            for (place, member) in story.job.members.enumerated() {
                let rank = Rank(rawValue: place)
                let living = story.job.living(with: rank)
                if member.drain == .left {
                    fail(
                        unless: member.loss != nil && !living.contains(rank),
                        "\(rank) is drained and takes part")
                }
                guard living.contains(rank) else { continue }
                let told =
                    story.told[Story.id(held[place] ?? -1)] ?? JobEpoch(number: 1, living: living)
                fail(
                    unless: told == JobEpoch(number: member.told, living: living),
                    "\(rank) was told \(told)")
                guard story.job.configuration.groups == nil else { continue }
                fail(
                    unless: member.told == story.job.epoch, "\(rank) is in epoch \(member.told)")
            }
        }

        /// Notes what is wrong; an expectation for each of so many facts would take long.
        private func fail(unless isSound: Bool, _ fact: @autoclosure () -> String) {
            if !isSound { Issue.record("seed \(seed): \(fact())") }
        }
    }
}
