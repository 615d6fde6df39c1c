import Testing
import Topology

@testable import Cluster

/// Ranks that leave and come back so that a stated number serves.
@Suite struct ScaleTests {
    private typealias Story = LossTests.Story

    /// A job of four ranks of which some were drained.
    private static func story(without drained: [Rank] = []) -> Story {
        var story = Story(ranks: 4) { $0.deadlines[.join] = .seconds(10) }
        for rank in drained { drain(rank, &story) }
        return story
    }

    private static func drain(_ rank: Rank, _ story: inout Story) {
        story.apply(.drain(rank))
        let left = story.job.living.filter { $0 != rank }
        let number = story.job.candidate?.number ?? 0
        for other in left { story.apply(.prepared(Story.id(other.rawValue), epoch: number)) }
        for other in left { story.apply(.recovered(Story.id(other.rawValue), epoch: number)) }
    }

    private static func plan(_ story: Story, _ count: Int) -> Result<[[Int]], ClusterError> {
        Result { () throws(ClusterError) in
            let plan = try ScalePlan(story.job.snapshot(now: story.now), to: count)
            return [plan.leaving.map(\.rawValue), plan.returning.map(\.rawValue)]
        }
    }

    @Test func `the highest ranks leave first, and the lowest come back first`() {
        let story = Self.story()
        #expect(Self.plan(story, 2) == .success([[3, 2], []]))
        #expect(Self.plan(story, 4) == .success([[], []]))
        let two = Self.story(without: [3, 1])
        #expect(two.job.living == [0, 2])
        #expect(Self.plan(two, 3) == .success([[], [1]]))
        #expect(Self.plan(two, 4) == .success([[], [1, 3]]))
        #expect(Self.plan(two, 1) == .success([[2], []]))
    }

    @Test(arguments: [-1, 0, 5])
    func `a job has as many ranks as its file says`(count: Int) {
        guard case .failure(let error) = Self.plan(Self.story(), count) else {
            Issue.record("\(count) ranks are planned")
            return
        }
        #expect(error.description.hasPrefix("\(count) ranks are out of range: the job has 4"))
        #expect(error.description.contains("1...4"), "\(error)")
    }

    @Test func `nothing is planned while a rank is lost or leaves`() {
        var story = Self.story()
        story.apply(.drain(3))
        guard case .failure(let leaves) = Self.plan(story, 2) else {
            Issue.record("a rank leaves meanwhile")
            return
        }
        #expect(leaves.description == "rank 3 leaves: ask again when it has left")
        story = Self.story()
        story.apply(.closed(Story.id(1), reason: "closed"))
        guard case .failure(let lost) = Self.plan(story, 2) else {
            Issue.record("a rank is lost meanwhile")
            return
        }
        #expect(lost.description == "rank 1 is lost: closed: ask again when it is back")
    }

    @Test func `a rank that left is asked for until it is here, and answered for when it serves`() {
        var story = Self.story(without: [3])
        func isRecalled() -> Bool? { story.job.snapshot(now: story.now).members[3].isRecalled }
        #expect(isRecalled() == nil)
        #expect(story.apply(.recall(3)) == [.recalled(3)])
        #expect(isRecalled() == true)
        story.arrive(3, as: 9)
        #expect(isRecalled() == nil, "its launcher starts no second one")
        story.apply(.entered(Story.id(9), .ready))
        let number = story.job.candidate?.number ?? 0
        var actions: [Membership.Action] = []
        for connection in [0, 1, 2, 9] {
            actions += story.apply(.prepared(Story.id(connection), epoch: number))
        }
        #expect(actions.contains(.returned(3, recovering: [0, 1, 2, 3])))
        let member = story.job.snapshot(now: story.now).members[3]
        #expect(member.loss == nil && member.drain == nil && story.job.members[3].recalled == nil)
    }

    @Test func `who asked hears of a rank that does not come, or is lost on its way`() {
        var story = Self.story(without: [3])
        story.apply(.recall(3))
        story.arrive(3, as: 9)
        let actions = story.apply(.closed(Story.id(9), reason: "its disk is gone"))
        #expect(actions.contains(.notReturned(3, reason: "its disk is gone")), "\(actions)")
        #expect(story.job.snapshot(now: story.now).members[3].drain == .left)
        // Once more: nobody comes within the times for join, connect, load and to meet.
        story.apply(.recall(3))
        for _ in 0 ..< 60 {
            story.beat([0, 1, 2], after: .seconds(1))
            #expect(story.apply(.tick).isEmpty)
        }
        story.beat([0, 1, 2], after: .seconds(1))
        guard case .notReturned(3, let reason)? = story.apply(.tick).first else {
            Issue.record("the rank is waited for without an end")
            return
        }
        #expect(reason.contains("the limit is 60 s"), "\(reason)")
        #expect(story.job.members[3].recalled == nil)
    }

    @Test func `a rank that is refused on its way ends the wait for it`() {
        var story = Self.story(without: [3])
        story.apply(.recall(3))
        var identity = MembershipTests.identity
        identity.build = "another"
        let hello = Hello(rank: 3, identity: identity, pid: 7, node: "here")
        let actions = story.apply(.arrived(Story.id(9), hello))
        guard case .notReturned(3, let reason)? = actions.first, case .refuse? = actions.last
        else {
            Issue.record("the rank is waited for: \(actions)")
            return
        }
        #expect(reason.hasPrefix("refused: "), "\(reason)")
        #expect(story.job.members[3].recalled == nil)
    }

    @Test func `a rank that does not arrive is given up before the time for loading is over`() {
        var story = Story(ranks: 4) {
            $0.deadlines[.join] = .seconds(10)
            $0.deadlines[.load] = .seconds(1800)
        }
        Self.drain(3, &story)
        story.apply(.recall(3))
        for _ in 0 ..< 70 {
            story.beat([0, 1, 2], after: .seconds(1))
            #expect(story.apply(.tick).isEmpty)
        }
        story.beat([0, 1, 2], after: .seconds(1))
        guard case .notReturned(3, let reason)? = story.apply(.tick).first else {
            Issue.record("the rank is waited for as if it loaded")
            return
        }
        #expect(reason.contains("the limit is 70 s, of deadlines.joinSeconds"), "\(reason)")
    }

    @Test func `a rank that is reported as not back does not come back later by itself`() {
        var story = Self.story(without: [3])
        story.apply(.recall(3))
        story.arrive(3, as: 9)
        story.apply(.entered(Story.id(9), .ready))
        var actions: [Membership.Action] = []
        for _ in 0 ..< 61 {
            // No machine has memory for it.
            let number = story.job.candidate?.number ?? 0
            story.apply(
                .notPrepared(
                    Story.id(0), epoch: number, reason: "no memory", lacksMemory: true))
            story.beat([0, 1, 2, 9], after: .seconds(1))
            actions += story.apply(.tick)
        }
        let reasons = actions.compactMap {
            if case .notReturned(3, let reason) = $0 { reason } else { nil }
        }
        #expect(reasons.count == 1 && reasons[0].contains("no memory"), "\(actions)")
        #expect(story.dismissed[Story.id(9)] != nil && story.job.connection(of: 3) == nil)
        #expect(story.job.snapshot(now: story.now).members[3].drain == .left)
        #expect(story.job.living == [0, 1, 2])
    }

    @Test func `the next rank may leave once all have changed over`() {
        var story = Self.story()
        func isChanging() -> Bool? { story.job.snapshot(now: story.now).isChanging }
        #expect(isChanging() == nil)
        story.apply(.drain(3))
        #expect(isChanging() == true && story.job.drainRefusal(of: 2) != nil)
        for rank in 0 ..< 3 { story.apply(.prepared(Story.id(rank), epoch: 2)) }
        #expect(isChanging() == true && story.job.drainRefusal(of: 2) != nil)
        for rank in 0 ..< 3 { story.apply(.recovered(Story.id(rank), epoch: 2)) }
        #expect(isChanging() == nil && story.job.drainRefusal(of: 2) == nil)
    }

    @Test func `a rank that serves, or is lost, is not asked to come back`() {
        var story = Self.story()
        #expect(story.job.recallRefusal(of: 1) == "rank 1 serves")
        #expect(story.job.recallRefusal(of: 9)?.contains("out of range") == true)
        story.apply(.closed(Story.id(1), reason: "closed"))
        #expect(story.job.recallRefusal(of: 1) == "rank 1 is lost, and was not drained: closed")
        #expect(story.apply(.recall(1)).isEmpty)
    }
}
