import Testing
import Topology

@testable import Cluster

/// A coordinator that takes over the ranks of one that was lost.
@Suite struct TakeOverTests {
    static func id(_ number: Int) -> ConnectionID { ConnectionID(rawValue: number) }

    /// A coordinator that nobody has joined, and ranks that come to it.
    static func story(
        ranks: Int, groups: RankGroupMap? = nil,
        change: (inout Membership.Configuration) -> Void = { _ in }
    ) -> LossTests.Story {
        var configuration = Membership.Configuration(
            rankCount: ranks, identity: MembershipTests.identity,
            deadlines: [.join: .seconds(60), .connect: .seconds(5), .load: .seconds(20)],
            silenceLimit: .seconds(3))
        configuration.survivesLosses = true
        configuration.takeOverLimit = .seconds(30)
        configuration.groups = groups
        change(&configuration)
        var story = LossTests.Story(ranks: 0)
        story.job = Membership(configuration: configuration, now: .zero)
        return story
    }

    static func held(
        _ number: UInt64, _ living: [Rank], takesPart: Bool = true, highest: UInt64? = nil
    ) -> HeldEpoch {
        HeldEpoch(
            epoch: JobEpoch(number: number, living: living), takesPart: takesPart,
            highestNumber: highest ?? number)
    }

    static func back(_ rank: Rank, _ held: HeldEpoch) -> Membership.Event {
        var hello = MembershipTests.hello(rank)
        hello.held = held
        return .arrived(id(rank.rawValue), hello)
    }

    @Test func `ranks that are all back go on in their epoch, and none is told another`() {
        var story = Self.story(ranks: 3)
        let held = Self.held(4, [0, 1, 2])
        #expect(
            story.apply(Self.back(1, held)) == [
                .takingOver, .welcome(Self.id(1), 1, Welcome(epoch: 4, rankCount: 3)),
            ])
        #expect(story.job.snapshot(now: story.now).awaited == [0, 2])
        #expect(story.apply(Self.back(0, held)).count == 1)
        #expect(
            story.apply(Self.back(2, held)) == [
                .welcome(Self.id(2), 2, Welcome(epoch: 4, rankCount: 3)),
                .tookOver(recovering: []),
            ])
        #expect(story.told.isEmpty)
        #expect(story.job.phase == .ready && story.job.epoch == 4)
        #expect(story.job.snapshot(now: story.now).awaited == nil)
    }

    @Test func `a rank that does not come back is lost, in an epoch that nobody has heard of`() {
        var story = Self.story(ranks: 3)
        story.apply(Self.back(0, Self.held(2, [0, 1, 2], highest: 7)))
        story.apply(Self.back(2, Self.held(2, [0, 1, 2])))
        story.beat([0, 2], after: .seconds(29))
        #expect(story.apply(.tick).isEmpty)
        story.beat([0, 2], after: .seconds(1))
        #expect(story.apply(.tick).isEmpty)
        story.beat([0, 2], after: .seconds(1))
        let actions = story.apply(.tick)
        let reason = "it did not come back to the new coordinator within 30 s"
        let next = JobEpoch(number: 8, living: [0, 2])
        #expect(
            actions == [
                .lost(1, reason: reason, recovering: [0, 2]),
                .begin(Self.id(0), next), .begin(Self.id(2), next),
                .tookOver(recovering: [0, 2]),
            ])
        story.apply(.recovered(Self.id(0), epoch: 8))
        #expect(story.apply(.recovered(Self.id(2), epoch: 8)) == [.recovered(epoch: 8)])
        // It may come again as any rank that was lost.
        let again = story.arrive(1, as: 9)
        guard case .welcome(_, 1, let welcome) = again.first else {
            Issue.record("\(again)")
            return
        }
        #expect(welcome.returnsTo == next)
    }

    @Test func `ranks of different epochs meet in a new one`() {
        var story = Self.story(ranks: 2)
        story.apply(Self.back(0, Self.held(5, [0, 1], takesPart: false)))
        let actions = story.apply(Self.back(1, Self.held(4, [0, 1], highest: 6)))
        let next = JobEpoch(number: 7, living: [0, 1])
        #expect(story.told == [Self.id(0): next, Self.id(1): next])
        #expect(actions.last == .tookOver(recovering: [0, 1]))
    }

    @Test func `a rank that says it takes part after all needs no new epoch`() {
        var story = Self.story(ranks: 2)
        story.apply(Self.back(0, Self.held(5, [0, 1], takesPart: false)))
        #expect(story.apply(.recovered(Self.id(0), epoch: 5)).isEmpty)
        let actions = story.apply(Self.back(1, Self.held(5, [0, 1])))
        #expect(actions.last == .tookOver(recovering: []) && story.told.isEmpty)
    }

    @Test func `whom the others suspect is not waited for`() {
        var story = Self.story(ranks: 3)
        story.apply(Self.back(0, Self.held(1, [0, 1, 2])))
        story.apply(Self.back(1, Self.held(1, [0, 1, 2])))
        // It may be about to come back: others have a moment to say whom they suspect.
        #expect(
            story.apply(.suspected(Self.id(1), rank: 2, epoch: 1, reason: "its process ended"))
                .isEmpty)
        #expect(story.apply(.tick, after: .milliseconds(200)).isEmpty)
        let actions = story.apply(.tick, after: .milliseconds(50))
        #expect(
            actions.first
                == .lost(2, reason: "rank 1 reports: its process ended", recovering: [0, 1]))
        #expect(story.told[Self.id(0)] == JobEpoch(number: 2, living: [0, 1]))
    }

    @Test func `a rank that is lost while others come back does not end the job`() {
        var story = Self.story(ranks: 3)
        story.apply(Self.back(0, Self.held(1, [0, 1, 2])))
        story.apply(Self.back(1, Self.held(1, [0, 1, 2])))
        #expect(story.apply(.closed(Self.id(1), reason: "closed")).count == 1)
        let actions = story.apply(Self.back(2, Self.held(1, [0, 1, 2])))
        #expect(actions.contains(.lost(1, reason: "closed", recovering: [0, 2])))
        #expect(story.told[Self.id(2)] == JobEpoch(number: 2, living: [0, 2]))
        #expect(story.job.ending == nil)
    }

    @Test func `a suspect that leaves and comes back is lost, as the others have left its epoch`() {
        var story = Self.story(ranks: 4)
        let held = Self.held(1, [0, 1, 2, 3])
        for rank in [0, 1, 2] as [Rank] { story.apply(Self.back(rank, held)) }
        story.apply(.suspected(Self.id(0), rank: 1, epoch: 1, reason: "no answer"))
        story.apply(.closed(Self.id(1), reason: "closed"))
        story.apply(Self.back(1, held))
        #expect(story.apply(Self.back(3, held)).last == .tookOver(recovering: []))
        let actions = story.apply(.tick, after: .milliseconds(250))
        #expect(
            actions.contains(.lost(1, reason: "rank 0 reports: no answer", recovering: [0, 2, 3])))
        #expect(story.told[Self.id(2)] == JobEpoch(number: 2, living: [0, 2, 3]))
    }

    @Test func `a rank that starts anew is not waited for as the one that it was`() {
        var story = Self.story(ranks: 3)
        let held = Self.held(1, [0, 1, 2])
        story.apply(Self.back(0, held))
        #expect(story.arrive(1, as: 11).isEmpty)
        #expect(story.job.snapshot(now: story.now).awaited == [2])
        let actions = story.apply(Self.back(2, held))
        let reason = "its process is gone: another one was started"
        #expect(actions.contains(.lost(1, reason: reason, recovering: [0, 2])))
        var welcome = Welcome(epoch: 2, rankCount: 3)
        welcome.returnsTo = JobEpoch(number: 2, living: [0, 2])
        #expect(actions.last == .welcome(Self.id(11), 1, welcome))
    }

    @Test func `ranks that wait for a new epoch have their time from the take-over on`() {
        var story = Self.story(ranks: 2)
        story.now = .seconds(50)
        story.apply(Self.back(0, Self.held(5, [0, 1], takesPart: false)))
        #expect(story.apply(.tick).isEmpty)
        #expect(story.dismissed.isEmpty)
    }

    @Test func `a coordinator that did not run is given up by its ranks, and knows it`() {
        var story = LossTests.Story(ranks: 2) { $0.takeOverLimit = .seconds(30) }
        story.apply(.tick)
        // Two heartbeats below the limit of its ranks.
        #expect(story.job.absence(story.now + .seconds(9)) == nil)
        #expect(story.job.absence(story.now + .seconds(10)) == .seconds(10))
        #expect(story.job.absence(story.now + .seconds(11)) == .seconds(11))
        // Ranks that did not run either are still there, and it goes on.
        #expect(!story.job.isForsaken(.tick))
        #expect(!story.job.isForsaken(.beat(Self.id(0), nil)))
        #expect(!story.job.isForsaken(.closed(Self.id(9), reason: "closed")))
        #expect(story.job.isForsaken(.closed(Self.id(1), reason: "closed")))
        #expect(story.job.isForsaken(Self.back(1, Self.held(1, [0, 1]))))
        // Where nobody would wait for another one, the ranks are judged as ever.
        story = LossTests.Story(ranks: 2)
        story.apply(.tick)
        #expect(story.job.absence(story.now + .seconds(11)) == nil)
        // Before all are ready they do not wait either.
        story = Self.story(ranks: 2)
        story.apply(.tick)
        #expect(story.job.absence(story.now + .seconds(11)) == nil)
    }

    @Test func `a rank that starts anew waits until the others are back, and returns`() {
        var story = Self.story(ranks: 3)
        story.apply(Self.back(0, Self.held(3, [0, 2])))
        #expect(story.arrive(1, as: 11).isEmpty)
        #expect(
            story.arrive(1, as: 12) == [
                .refuse(Self.id(12), reason: "rank 1 is held by process 7 on here")
            ])
        let actions = story.apply(Self.back(2, Self.held(3, [0, 2])))
        let reason = "it took no part when the coordinator was lost"
        #expect(actions.contains(.lost(1, reason: reason, recovering: [])))
        var welcome = Welcome(epoch: 3, rankCount: 3)
        welcome.returnsTo = JobEpoch(number: 3, living: [0, 2])
        #expect(actions.last == .welcome(Self.id(11), 1, welcome))
        #expect(story.told.isEmpty)
        // Its return begins an epoch as ever.
        story.apply(.entered(Self.id(11), .ready))
        for connection in [0, 2, 11] { story.apply(.prepared(Self.id(connection), epoch: 4)) }
        #expect(story.told[Self.id(11)] == JobEpoch(number: 4, living: [0, 1, 2]))
    }

    @Test func `a rank that starts anew before any is back is dismissed, not kept waiting`() {
        var story = Self.story(ranks: 2)
        story.arrive(1, as: 11)
        let actions = story.apply(Self.back(0, Self.held(1, [0, 1])))
        #expect(actions.contains(.takingOver))
        #expect(story.dismissed[Self.id(11)]?.exitStatus == .lost)
        #expect(story.apply(Self.back(1, Self.held(1, [0, 1]))).last == .tookOver(recovering: []))
    }

    @Test func `a rank that starts anew and is gone before any is back ends nothing`() {
        var story = Self.story(ranks: 2) {
            $0.expectsTakeOver = true
            $0.deadlines[.join] = .seconds(5)
        }
        story.arrive(1, as: 11)
        story.apply(.closed(Self.id(11), reason: "closed"))
        #expect(story.job.ending == nil && story.job.connection(of: 1) == nil)
        #expect(story.arrive(1, as: 12).count == 1)
        story.apply(.failed(Self.id(12), reason: "no memory", lost: nil))
        #expect(story.dismissed[Self.id(12)]?.exitStatus == .lost)
        #expect(story.arrive(1, as: 13).count == 1)
        story.apply(.tick, after: .seconds(4))
        #expect(story.dismissed[Self.id(13)]?.description.contains("silent for 4.0 s") == true)
        // The others have their whole time, whatever the limit for ranks that start is.
        story.apply(.tick, after: .seconds(1))
        story.apply(.tick, after: .seconds(1))
        #expect(story.job.ending == nil)
        story.apply(Self.back(0, Self.held(1, [0, 1])))
        #expect(story.apply(Self.back(1, Self.held(1, [0, 1]))).last == .tookOver(recovering: []))
        // Where none comes in time, or none is expected, it is a job that begins.
        story = Self.story(ranks: 2) { $0.expectsTakeOver = true }
        story.apply(.tick, after: .seconds(31))
        story.arrive(1, as: 11)
        story.apply(.closed(Self.id(11), reason: "closed"))
        #expect(story.job.ending?.exitStatus == .lost)
    }

    @Test func `a job whose ranks are all gone again names one in the phase that it was in`() {
        var story = Self.story(ranks: 2)
        story.apply(Self.back(1, Self.held(3, [0, 1])))
        story.apply(.closed(Self.id(1), reason: "closed"))
        let actions = story.apply(.tick, after: .seconds(31))
        let reason = "it did not come back to the new coordinator within 30 s"
        #expect(actions.contains(.end(.lost(rank: 0, phase: .ready, epoch: 3, reason: reason))))
    }

    @Test func `a worker with another identity, and one that holds nonsense, is refused`() throws {
        var story = Self.story(ranks: 2)
        var other = MembershipTests.hello(0, MembershipTests.identity { $0.build = "x" })
        other.held = Self.held(1, [0, 1])
        guard case .refuse(_, let reason) = story.apply(.arrived(Self.id(0), other)).first else {
            Issue.record("it is let in")
            return
        }
        #expect(reason.hasPrefix("build differs"))
        for held in [
            Self.held(1, [1]), Self.held(1, [0, 1, 1]), Self.held(0, [0, 1]), Self.held(1, [0, 5]),
            Self.held(1 << 16, [0, 1]), Self.held(1, [0, 1], highest: 1 << 20),
        ] {
            guard case .refuse = story.apply(Self.back(0, held)).first else {
                Issue.record("\(held) is let in")
                continue
            }
        }
        var placed = Self.held(1, [0, 1])
        placed.epoch.placements = [try .contiguous(expertCount: 4, rankCount: 2)]
        guard case .refuse = story.apply(Self.back(0, placed)).first else {
            Issue.record("placements of another model are taken")
            return
        }
        #expect(story.job.takeOver == nil)
    }

    @Test func `a rank that holds ranks of another group is refused`() throws {
        let groups = try RankGroupMap([
            RankGroup(name: "a", role: .serve, rankCount: 2),
            RankGroup(name: "b", role: .serve, rankCount: 2),
        ])
        var story = Self.story(ranks: 4, groups: groups)
        guard case .refuse(_, let reason) = story.apply(Self.back(0, Self.held(1, [0, 2]))).first
        else {
            Issue.record("ranks of two groups are taken")
            return
        }
        #expect(reason.hasSuffix("its group has [0, 1], each once"))
    }

    @Test func `ranks that hold more than their slots are taken back with what they hold`() {
        var story = Self.story(ranks: 2) { $0.placements = [PlacementTests.swapped] }
        var held = Self.held(1, [0, 1])
        let wide = PlacementTests.placement([[0, 1, 2], [2, 3]])
        held.epoch.placements = [wide, wide]
        #expect(story.apply(Self.back(0, held)).first == .takingOver)
        #expect(story.apply(Self.back(1, held)).last == .tookOver(recovering: []))
        #expect(story.job.placements(ofGroup: 0) == [wide, wide])
        // The next loss begins from there.
        story.apply(.closed(Self.id(1), reason: "closed"))
        #expect(
            story.told[Self.id(0)]
                == JobEpoch(number: 2, living: [0], placements: [wide, wide]))
    }

    @Test func `a coordinator of a job of its own gives a stray rank an end`() {
        var story = LossTests.Story(ranks: 2) { $0.takeOverLimit = .seconds(30) }
        story.apply(.closed(Self.id(1), reason: "closed"))
        story.apply(.arrived(Self.id(5), Self.hello(1, Self.held(1, [0, 1]))))
        #expect(story.dismissed[Self.id(5)]?.exitStatus == .lost)
        #expect(story.job.ending == nil)
    }

    private static func hello(_ rank: Rank, _ held: HeldEpoch) -> Hello {
        var hello = MembershipTests.hello(rank)
        hello.held = held
        return hello
    }

    @Test func `where no rank is left of those that came back, the job ends by name`() {
        var story = Self.story(ranks: 2)
        story.apply(Self.back(0, Self.held(1, [0, 1])))
        #expect(story.apply(.closed(Self.id(0), reason: "closed")).isEmpty == false)
        let end = story.apply(.tick, after: .seconds(31)).last
        guard case .end(.lost(0, _, 1, "closed")) = end else {
            Issue.record("\(String(describing: end))")
            return
        }
    }

    @Test func `groups come back each in its own epoch`() throws {
        let groups = try RankGroupMap([
            RankGroup(name: "a", role: .serve, rankCount: 2),
            RankGroup(name: "b", role: .serve, rankCount: 2),
        ])
        var story = Self.story(ranks: 4, groups: groups)
        story.apply(Self.back(0, Self.held(2, [0, 1])))
        story.apply(Self.back(1, Self.held(2, [0, 1])))
        #expect(story.job.snapshot(now: story.now).awaited == [2, 3])
        let actions = story.apply(Self.back(3, Self.held(5, [3])))
        #expect(actions.last == .tookOver(recovering: []))
        #expect(story.told.isEmpty && story.job.epoch == 5)
        // A loss in one group begins an epoch of that group alone.
        story.apply(.closed(Self.id(1), reason: "closed"))
        #expect(story.told == [Self.id(0): JobEpoch(number: 6, living: [0])])
    }

    @Test func `a job that ends with a lost rank takes nobody back`() {
        var story = Self.story(ranks: 2) { $0.survivesLosses = false }
        story.apply(Self.back(0, Self.held(1, [0, 1])))
        #expect(story.dismissed[Self.id(0)] != nil && story.job.takeOver == nil)
    }

    @Test func `ranks that are ready know the epoch that they keep`() {
        var story = LossTests.Story(ranks: 2, isReady: false)
        story.apply(.entered(Self.id(0), .ready))
        #expect(story.told.isEmpty)
        story.apply(.entered(Self.id(1), .ready))
        let first = JobEpoch(number: 1, living: [0, 1])
        #expect(story.told == [Self.id(0): first, Self.id(1): first])
    }
}
