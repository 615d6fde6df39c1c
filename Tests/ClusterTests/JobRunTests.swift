import Foundation
import Testing
import Topology

@testable import Cluster

/// A job's life as its launcher sees it, without a process.
@Suite struct JobRunTests {
    /// A run of two ranks, and the time.
    struct Story {
        var run: JobRun
        var now = Duration.zero

        init(ranks: [Rank] = [0, 1]) {
            run = JobRun(
                JobRun.Configuration(
                    ranks: ranks, joinLimit: .seconds(60), drainLimit: .seconds(10)))
        }

        @discardableResult
        mutating func apply(_ event: JobRun.Event, after pause: Duration = .zero)
            -> [JobRun.Action]
        {
            now += pause
            return run.apply(event, now: now)
        }

        /// Both ranks run, and the coordinator says that they serve.
        static func serving() -> Story {
            var story = Story()
            story.apply(.begun)
            story.apply(.started(.coordinator))
            story.apply(.listening)
            story.apply(.started(.rank(0)))
            story.apply(.started(.rank(1)))
            story.apply(.told(snapshot(.ready), http: endpoint))
            return story
        }

        /// Every process that is left ends.
        mutating func end(_ processes: [JobProcess]) {
            for process in processes { apply(.exited(process, .exited(0))) }
        }
    }

    static let endpoint = Endpoint(address: "127.0.0.1", port: 8080)
    static let all: [JobProcess] = [.coordinator, .rank(0), .rank(1)]

    static func snapshot(_ phase: Phase) -> JobSnapshot {
        JobSnapshot(
            epoch: 1, phase: phase,
            members: [0, 1].map { JobSnapshot.Member(rank: $0, phase: phase) })
    }

    static let lost = JobEnd.lost(rank: 1, phase: .ready, epoch: 1, reason: "it closed")

    @Test func `the coordinator starts first, and ranks when it listens`() {
        var story = Story()
        #expect(story.apply(.begun) == [.start(.coordinator)])
        #expect(story.apply(.started(.coordinator)).isEmpty)
        #expect(story.run.awaitsCoordinator)
        #expect(story.apply(.listening) == [.start(.rank(0)), .start(.rank(1))])
        #expect(story.run.isRunning)
    }

    @Test func `a site that starts no rank is watched all the same`() {
        var story = Story(ranks: [])
        story.apply(.begun)
        story.apply(.started(.coordinator))
        #expect(story.apply(.listening).isEmpty)
        #expect(story.apply(.ended(Self.lost)) == [.terminate(.coordinator)])
        story.end([.coordinator])
        #expect(story.run.outcome == .ended(Self.lost))
        #expect(story.run.isOver)
    }

    @Test func `a job that serves is announced once and shown each time`() {
        var story = Story.serving()
        let ready = Self.snapshot(.ready)
        #expect(story.apply(.told(ready, http: Self.endpoint)) == [.show(ready)])
        var other = Story()
        other.apply(.begun)
        other.apply(.listening)
        #expect(other.apply(.told(ready, http: nil)) == [.show(ready)])
        #expect(
            other.apply(.told(ready, http: Self.endpoint))
                == [.show(ready), .announce(Self.endpoint)])
    }

    @Test func `a coordinator that does not listen in time ends the job`() {
        var story = Story()
        story.apply(.begun)
        story.apply(.started(.coordinator))
        #expect(story.apply(.tick, after: .seconds(60)).isEmpty)
        #expect(story.apply(.tick, after: .seconds(1)) == [.terminate(.coordinator)])
        guard case .failed(.deadline) = story.run.outcome else {
            Issue.record("\(String(describing: story.run.outcome))")
            return
        }
    }

    @Test func `a coordinator that exits before it listens is the reason`() {
        var story = Story()
        story.apply(.begun)
        story.apply(.started(.coordinator))
        #expect(story.apply(.exited(.coordinator, .exited(2))).isEmpty)
        #expect(story.run.outcome == .exited(.coordinator, .exited(2), nil))
        #expect(story.run.isOver)
    }

    @Test func `a rank that cannot be started ends those that were`() {
        var story = Story()
        story.apply(.begun)
        story.apply(.started(.coordinator))
        story.apply(.listening)
        story.apply(.started(.rank(0)))
        let error = ClusterError.command("no such program")
        #expect(
            story.apply(.failed(error)) == [.terminate(.rank(0)), .terminate(.coordinator)])
        story.end([.coordinator, .rank(0)])
        #expect(story.run.outcome == .failed(error))
        #expect(story.run.isOver)
    }

    @Test func `a rank that a signal killed is lost for that reason, whichever is seen first`() {
        let exit = JobRun.Event.exited(.rank(1), .killed(signal: 9))
        for events in [[exit, .ended(Self.lost)], [.ended(Self.lost), exit]] {
            var story = Story.serving()
            #expect(story.apply(events[0]).isEmpty)
            #expect(
                story.apply(events[1], after: .milliseconds(100))
                    == [.terminate(.rank(0)), .terminate(.coordinator)])
            #expect(story.run.outcome == .killed(1, signal: 9, .ready))
        }
    }

    @Test func `a rank that exits by itself is explained by the coordinator`() {
        let exit = JobRun.Event.exited(.rank(1), .exited(1))
        for events in [[exit, .ended(Self.lost)], [.ended(Self.lost), exit]] {
            var story = Story.serving()
            for event in events { story.apply(event) }
            story.apply(.tick, after: .seconds(2))
            #expect(story.run.outcome == .ended(Self.lost))
        }
    }

    @Test func `a lost rank whose process goes on is lost for the coordinator's reason`() {
        var story = Story.serving()
        #expect(story.apply(.ended(Self.lost)).isEmpty)
        #expect(story.apply(.tick, after: .milliseconds(900)).isEmpty)
        #expect(story.apply(.tick, after: .milliseconds(200)).count == 3)
        #expect(story.run.outcome == .ended(Self.lost))
    }

    @Test func `another rank's signal is not the lost rank's`() {
        var story = Story.serving()
        story.apply(.ended(Self.lost))
        story.apply(.exited(.rank(0), .killed(signal: 9)))
        story.apply(.tick, after: .seconds(2))
        #expect(story.run.outcome == .ended(Self.lost))
    }

    @Test func `a rank that exits early is named with its phase when nobody explains it`() {
        var story = Story.serving()
        story.apply(.exited(.rank(1), .exited(7)))
        #expect(story.apply(.tick, after: .seconds(3)).isEmpty)
        #expect(!story.apply(.tick, after: .milliseconds(100)).isEmpty)
        #expect(story.run.outcome == .exited(.rank(1), .exited(7), .ready))
    }

    @Test func `a rank that fails while the job is stopped from outside is still named`() {
        var story = Story.serving()
        story.apply(.exited(.rank(0), .exited(1)))
        story.apply(.ended(.stopped))
        #expect(story.run.outcome == .exited(.rank(0), .exited(1), .ready))
    }

    @Test func `a job that somebody else stops is done`() {
        var story = Story.serving()
        let actions = story.apply(.ended(.stopped))
        #expect(actions == [.terminate(.rank(1)), .terminate(.rank(0)), .terminate(.coordinator)])
        #expect(!story.run.isOver)
        story.end(Self.all)
        #expect(story.run.outcome == .done)
        #expect(story.run.isOver)
    }

    @Test func `a coordinator that is killed is named, whichever is seen first`() {
        let loss = JobEnd.coordinatorLost(reason: "its connection closed")
        let exit = JobRun.Event.exited(.coordinator, .killed(signal: 9))
        for events in [[exit, .ended(loss)], [.ended(loss), exit]] {
            var story = Story.serving()
            for event in events { story.apply(event) }
            #expect(story.run.outcome == .exited(.coordinator, .killed(signal: 9), nil))
        }
    }

    @Test func `a coordinator that is silent and does not end is lost`() {
        var story = Story.serving()
        let loss = JobEnd.coordinatorLost(reason: "silent for 10.0 s")
        story.apply(.ended(loss))
        story.apply(.ended(loss), after: .seconds(1))
        story.apply(.tick, after: .seconds(3))
        #expect(story.run.outcome == .ended(loss))
    }

    @Test func `a job that is asked to stop drains, lets ranks leave, and is done`() {
        var story = Story.serving()
        #expect(story.apply(.stopRequested) == [.terminate(.coordinator)])
        #expect(story.apply(.tick, after: .seconds(12)).isEmpty)
        #expect(story.apply(.exited(.coordinator, .exited(0))).isEmpty)
        story.apply(.exited(.rank(1), .exited(0)))
        #expect(!story.run.isOver)
        story.apply(.exited(.rank(0), .exited(0)))
        #expect(story.run.outcome == .done)
        #expect(story.run.isOver)
    }

    @Test func `a drain that takes too long is cut off`() {
        var story = Story.serving()
        story.apply(.stopRequested)
        let actions = story.apply(.tick, after: .seconds(14))
        #expect(actions == [.terminate(.rank(1)), .terminate(.rank(0)), .terminate(.coordinator)])
        #expect(story.apply(.tick, after: .seconds(3)).isEmpty)
        let kills = story.apply(.tick, after: .milliseconds(1))
        #expect(Set(kills.map { "\($0)" }).count == 3)
        #expect(story.apply(.tick, after: .seconds(9)).isEmpty, "each is killed once")
    }

    @Test func `a second request cuts the drain short, and a third kills`() {
        var story = Story.serving()
        story.apply(.stopRequested)
        #expect(story.apply(.stopRequested).count == 3)
        #expect(story.apply(.tick, after: .milliseconds(700)).isEmpty)
        #expect(
            story.apply(.stopRequested)
                == [.kill(.coordinator), .kill(.rank(0)), .kill(.rank(1))])
        #expect(story.apply(.stopRequested).isEmpty)
        story.end(Self.all)
        #expect(story.run.outcome == .done)
    }

    @Test func `after a second request what does not end is killed within a second`() {
        var story = Story.serving()
        story.apply(.stopRequested)
        story.apply(.stopRequested)
        #expect(story.apply(.tick, after: .milliseconds(800)).count == 3)
        story.end(Self.all)
        #expect(story.run.isOver)
    }

    @Test func `a request while a lost rank is being named ends the job at once`() {
        var story = Story.serving()
        story.apply(.ended(Self.lost))
        #expect(story.apply(.stopRequested).count == 3)
        #expect(story.run.outcome == .ended(Self.lost))
    }

    @Test func `a request before the coordinator listens ends the job at once`() {
        var story = Story()
        story.apply(.begun)
        story.apply(.started(.coordinator))
        #expect(story.apply(.stopRequested) == [.terminate(.coordinator)])
        story.end([.coordinator])
        #expect(story.run.outcome == .done)
    }

    @Test func `after its end nothing changes the outcome`() {
        var story = Story.serving()
        story.apply(.ended(Self.lost))
        story.apply(.tick, after: .seconds(2))
        story.apply(.ended(.stopped))
        story.apply(.failed(.command("late")))
        story.apply(.exited(.coordinator, .exited(1)))
        #expect(story.run.outcome == .ended(Self.lost))
    }

    @Test(arguments: 0 ..< 500)
    func `whatever happens in whatever order, a job ends and no process is left`(seed: UInt64) {
        var random = Sequence64(state: seed)
        var story = Story()
        var living: [JobProcess] = []
        func take(_ actions: [JobRun.Action]) {
            for action in actions {
                guard case .start(let process) = action else { continue }
                living.append(process)
                _ = story.apply(.started(process))
            }
        }
        take(story.apply(.begun))
        let loss = JobEnd.coordinatorLost(reason: "silent")
        for _ in 0 ..< 40 where !story.run.isOver {
            let pause = Duration.milliseconds(Int.random(in: 0 ... 4000, using: &random))
            let events: [JobRun.Event] = [
                .tick, .listening, .stopRequested, .ended(Self.lost), .ended(.stopped),
                .ended(loss), .told(Self.snapshot(.ready), http: Self.endpoint),
            ]
            if let gone = living.randomElement(using: &random), random.next() % 4 == 0 {
                living.removeAll { $0 == gone }
                take(story.apply(.exited(gone, .exited(1)), after: pause))
            } else {
                take(story.apply(events[Int(random.next() % 7)], after: pause))
            }
            #expect(!story.run.isOver || living.isEmpty, "seed \(seed)")
        }
        // The launcher gives up at last, and the system ends what is killed.
        take(story.apply(.failed(.command("enough"))))
        for process in living { take(story.apply(.exited(process, .killed(signal: 9)))) }
        #expect(story.run.isOver, "seed \(seed)")
        #expect(story.run.outcome != nil, "seed \(seed)")
    }
}
