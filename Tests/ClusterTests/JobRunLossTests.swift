import Testing
import Topology

@testable import Cluster

/// A job that goes on without a rank, as its launcher sees it.
@Suite struct JobRunLossTests {
    @Test func `a job that goes on starts a lost rank again, each time later, five times`() {
        var story = Self.restarter(.onFailure)
        for pause in [1, 2, 4, 8, 16] {
            #expect(
                story.apply(.exited(.rank(1), .killed(signal: 9))) == [
                    .report(
                        .rank(1), .killed(signal: 9), plan: "it is started again in \(pause) s")
                ])
            #expect(story.apply(.tick, after: .milliseconds(pause * 1000 - 1)).isEmpty)
            #expect(story.apply(.tick, after: .milliseconds(1)) == [.restart(.rank(1))])
            story.apply(.started(.rank(1)))
            #expect(story.apply(.tick).isEmpty)
        }
        let last = story.apply(.exited(.rank(1), .exited(1)))
        #expect(
            last == [
                .report(
                    .rank(1), .exited(1),
                    plan: "it is left out: it was started 5 times and lived less than 60 s each"
                        + " time")
            ])
        #expect(story.apply(.tick, after: .seconds(100)).isEmpty)
        #expect(story.run.isRunning)
        story.apply(.ended(JobRunTests.lost))
        story.end([.coordinator, .rank(0)])
        #expect(story.run.outcome == .ended(JobRunTests.lost))
    }

    /// A job that goes on, of two ranks that run; it is not announced yet.
    private static func survivor() -> JobRunTests.Story {
        var story = JobRunTests.Story()
        var configuration = JobRun.Configuration(
            ranks: [0, 1], joinLimit: .seconds(60), drainLimit: .seconds(10))
        configuration.survivesLosses = true
        story.run = JobRun(configuration)
        story.apply(.begun)
        story.apply(.started(.coordinator))
        story.apply(.listening)
        for rank in [0, 1] as [Rank] { story.apply(.started(.rank(rank))) }
        return story
    }

    private static func losing(_ rank: Rank, silent: Double) -> JobSnapshot {
        var told = JobRunTests.snapshot(.ready)
        told.members[rank.rawValue].loss = "its connection closed"
        told.members[rank.rawValue].silentSeconds = silent
        return told
    }

    /// A job that starts ranks again by a policy, and serves.
    private static func restarter(
        _ restart: RestartPolicy = .always
    ) -> JobRunTests.Story {
        var story = JobRunTests.Story()
        var configuration = JobRun.Configuration(
            ranks: [0, 1], joinLimit: .seconds(60), drainLimit: .seconds(10))
        configuration.survivesLosses = true
        configuration.restart = restart
        story.run = JobRun(configuration)
        story.apply(.begun)
        story.apply(.started(.coordinator))
        story.apply(.listening)
        for rank in [0, 1] as [Rank] { story.apply(.started(.rank(rank))) }
        story.apply(.told(JobRunTests.snapshot(.ready), http: JobRunTests.endpoint))
        return story
    }

    @Test(arguments: [JobSnapshot.Drain.leaving, .left])
    func `a rank that was drained is not started again`(drain: JobSnapshot.Drain) {
        var story = Self.restarter()
        var told = JobRunTests.snapshot(.ready)
        told.members[1].drain = drain
        story.apply(.told(told, http: nil))
        #expect(
            story.apply(.exited(.rank(1), .exited(0))) == [
                .report(
                    .rank(1), .exited(0), plan: "it was drained, and is not started again")
            ])
        #expect(story.apply(.tick, after: .seconds(100)).isEmpty && story.run.isRunning)
        guard drain == .leaving else { return }
        // One that fails meanwhile is lost, and starts again.
        #expect(
            story.apply(.exited(.rank(1), .exited(1))) == [
                .report(.rank(1), .exited(1), plan: "it is started again in 1 s")
            ])
    }

    @Test func `a drained rank ends by itself, and stays away however it ends`() {
        var story = Self.restarter()
        var told = Self.losing(1, silent: 12)
        told.members[1].drain = .left
        story.apply(.told(told, http: nil), after: .seconds(60))
        #expect(story.apply(.tick).isEmpty)
        var killed = story
        #expect(
            killed.apply(.exited(.rank(1), .killed(signal: 9))) == [
                .report(
                    .rank(1), .killed(signal: 9), plan: "it was drained, and is not started again")
            ])
        #expect(killed.apply(.tick, after: .seconds(100)).isEmpty && killed.run.isRunning)
        // One that does not end is killed in the end.
        #expect(story.apply(.tick, after: .seconds(60)).isEmpty)
        #expect(story.apply(.tick, after: .seconds(1)) == [.kill(.rank(1))])
    }

    @Test(arguments: [ProcessEnd.exited(0), .exited(1), .killed(signal: 9)])
    func `a process that left is not started again when another one has its rank`(
        end: ProcessEnd
    ) {
        var story = Self.restarter()
        var told = Self.losing(1, silent: 0)
        told.members[1].drain = .left
        story.apply(.told(told, http: nil), after: .seconds(60))
        // The worker that was started by hand takes part, and is heard of.
        story.apply(.told(JobRunTests.snapshot(.ready), http: nil))
        var slow = story
        #expect(
            story.apply(.exited(.rank(1), end)) == [
                .report(.rank(1), end, plan: "it was drained, and is not started again")
            ])
        #expect(story.apply(.tick, after: .seconds(100)).isEmpty && story.run.isRunning)
        // One that does not end is killed, although the rank is not lost.
        #expect(slow.apply(.tick, after: .seconds(61)) == [.kill(.rank(1))])
    }

    @Test func `a rank that is to come back is started once, and ended for being away no more`() {
        var story = Self.restarter()
        var told = Self.losing(1, silent: 0)
        told.members[1].drain = .left
        story.apply(.told(told, http: nil))
        told.members[1].isRecalled = true
        // Its former process has not ended yet.
        #expect(!story.apply(.told(told, http: nil)).contains(.restart(.rank(1))))
        story.apply(.exited(.rank(1), .exited(0)))
        #expect(story.apply(.told(told, http: nil)).last == .restart(.rank(1)))
        story.apply(.started(.rank(1)))
        #expect(!story.apply(.told(told, http: nil)).contains(.restart(.rank(1))))
        // It loads for longer than a rank that left may take to end.
        told.members[1].isRecalled = nil
        story.apply(.told(told, http: nil))
        #expect(story.apply(.tick, after: .seconds(100)).isEmpty)
        story.apply(.told(JobRunTests.snapshot(.ready), http: nil))
        #expect(story.apply(.tick, after: .seconds(100)).isEmpty)
        #expect(story.run.recalled.isEmpty)
    }

    @Test func `a rank that is to come back and cannot be started is started once`() {
        var story = Self.restarter()
        var told = Self.losing(1, silent: 0)
        told.members[1].drain = .left
        story.apply(.told(told, http: nil))
        story.apply(.exited(.rank(1), .exited(0)))
        told.members[1].isRecalled = true
        #expect(story.apply(.told(told, http: nil)).last == .restart(.rank(1)))
        story.apply(.notRestarted(.rank(1)))
        #expect(!story.apply(.told(told, http: nil)).contains(.restart(.rank(1))))
        #expect(story.apply(.tick, after: .seconds(100)).isEmpty)
    }

    @Test func `a rank that ends on its way back is not started again until somebody asks`() {
        var story = Self.restarter()
        var told = Self.losing(1, silent: 0)
        told.members[1].drain = .left
        story.apply(.told(told, http: nil))
        story.apply(.exited(.rank(1), .exited(0)))
        told.members[1].isRecalled = true
        #expect(story.apply(.told(told, http: nil)).last == .restart(.rank(1)))
        story.apply(.started(.rank(1)))
        story.apply(.exited(.rank(1), .exited(2)))
        #expect(!story.apply(.told(told, http: nil)).contains(.restart(.rank(1))))
        told.members[1].isRecalled = nil
        story.apply(.told(told, http: nil))
        told.members[1].isRecalled = true
        #expect(story.apply(.told(told, http: nil)).last == .restart(.rank(1)))
    }

    @Test func `a process that is started anew has not left`() {
        var story = Self.restarter()
        var told = JobRunTests.snapshot(.ready)
        told.members[1].drain = .left
        story.apply(.told(told, http: nil))
        story.apply(.exited(.rank(1), .exited(0)))
        story.apply(.started(.rank(1)))
        story.apply(.told(JobRunTests.snapshot(.ready), http: nil))
        #expect(
            story.apply(.exited(.rank(1), .exited(1))) == [
                .report(.rank(1), .exited(1), plan: "it is started again in 1 s")
            ])
    }

    @Test func `an exit that the coordinator explains as a loss does not end the job`() {
        var story = Self.survivor()
        #expect(story.apply(.exited(.rank(1), .killed(signal: 9))).isEmpty)
        let told = Self.losing(1, silent: 0.1)
        #expect(
            story.apply(.told(told, http: nil)) == [
                .show(told),
                .report(
                    .rank(1), .killed(signal: 9), plan: "it is not started again (restart: never)"),
            ])
        #expect(story.run.isRunning)
    }

    @Test func `memory of a rank that hangs is waited for until after its process is killed`() {
        let limit = JobConfiguration.Deadlines.release
        var story = Self.survivor()
        story.apply(.told(Self.losing(1, silent: 2), http: JobRunTests.endpoint))
        story.apply(.tick, after: .seconds(60))
        // It was lost by its silence, so that the others wait from then on.
        let silent = limit - .seconds(JobConfiguration.Deadlines.survivableSilence)
        story.apply(
            .told(
                Self.losing(1, silent: Double(silent.components.seconds)),
                http: JobRunTests.endpoint))
        #expect(story.apply(.tick) == [.kill(.rank(1))])
        let step = JobConfiguration.Deadlines().stepSeconds
        #expect(limit <= .seconds(step) / 2, "other ranks of a step wait meanwhile")
    }

    @Test func `a rank that was given up and does not end is killed`() {
        var story = Self.survivor()
        story.apply(.told(Self.losing(1, silent: 2), http: JobRunTests.endpoint))
        #expect(story.apply(.tick, after: .seconds(60)).isEmpty)
        story.apply(.told(Self.losing(1, silent: 11), http: JobRunTests.endpoint))
        #expect(story.apply(.tick) == [.kill(.rank(1))])
    }

    /// A job that serves and replaces its coordinator.
    private static func replacing(
        _ restart: RestartPolicy = .onFailure, limit: Duration = .seconds(30)
    ) -> JobRunTests.Story {
        var story = JobRunTests.Story()
        var configuration = JobRun.Configuration(
            ranks: [0, 1], joinLimit: .seconds(60), drainLimit: .seconds(10))
        configuration.survivesLosses = true
        configuration.restart = restart
        configuration.coordinatorLimit = limit
        story.run = JobRun(configuration)
        story.apply(.begun)
        story.apply(.started(.coordinator))
        story.apply(.listening)
        for rank in [0, 1] as [Rank] { story.apply(.started(.rank(rank))) }
        story.apply(.told(JobRunTests.snapshot(.ready), http: JobRunTests.endpoint))
        return story
    }

    private static let closed = JobEnd.coordinatorLost(reason: "its connection closed")

    @Test func `a coordinator that is killed is started again, and its ranks are left alone`() {
        var story = Self.replacing()
        for pause in [1, 2] {
            #expect(story.apply(.ended(Self.closed)).isEmpty)
            #expect(
                story.apply(.exited(.coordinator, .killed(signal: 9))) == [
                    .report(
                        .coordinator, .killed(signal: 9),
                        plan: "it is started again in \(pause) s")
                ])
            #expect(!story.run.awaitsCoordinator)
            #expect(
                story.apply(.tick, after: .seconds(pause)) == [.restart(.coordinator)])
            story.apply(.started(.coordinator))
            #expect(story.run.awaitsCoordinator)
            #expect(story.apply(.listening).isEmpty)
            #expect(story.run.isRunning)
        }
    }

    @Test func `a rank that dies with the coordinator is started again beside it`() {
        var story = Self.replacing()
        #expect(story.apply(.exited(.coordinator, .killed(signal: 9))).isEmpty)
        #expect(story.apply(.exited(.rank(1), .killed(signal: 9))).isEmpty)
        let plan = "it is started again in 1 s"
        #expect(
            story.apply(.ended(Self.closed)) == [
                .report(.coordinator, .killed(signal: 9), plan: plan),
                .report(.rank(1), .killed(signal: 9), plan: plan),
            ])
        #expect(
            story.apply(.tick, after: .seconds(1)) == [
                .restart(.coordinator), .restart(.rank(1)),
            ])
    }

    @Test func `a coordinator that hangs is killed, and then replaced`() {
        var story = Self.replacing()
        story.apply(.ended(.coordinatorLost(reason: "silent for 10 s")))
        #expect(story.apply(.tick, after: .seconds(4)) == [.kill(.coordinator)])
        #expect(story.apply(.exited(.coordinator, .killed(signal: 9))).count == 1)
        #expect(story.run.isReplacing)
    }

    @Test func `a job whose coordinator does not come back in time ends with how it ended`() {
        var story = Self.replacing(limit: .seconds(5))
        story.apply(.ended(Self.closed))
        story.apply(.exited(.coordinator, .killed(signal: 9)))
        story.apply(.tick, after: .seconds(1))
        story.apply(.started(.coordinator))
        // Another coordinator that fails does not buy the ranks more time.
        story.apply(.exited(.coordinator, .exited(2)), after: .seconds(1))
        #expect(story.run.isReplacing)
        #expect(
            story.apply(.tick, after: .seconds(4)) == [.terminate(.rank(1)), .terminate(.rank(0))])
        story.end([.rank(0), .rank(1)])
        #expect(story.run.outcome == .exited(.coordinator, .exited(2), nil))
    }

    @Test(arguments: [(RestartPolicy.never, 30.0), (.onFailure, 0.0)])
    func `a job that is not to replace its coordinator ends with it`(
        restart: RestartPolicy, seconds: Double
    ) {
        var story = Self.replacing(restart, limit: .seconds(seconds))
        story.apply(.ended(Self.closed))
        story.apply(.exited(.coordinator, .killed(signal: 9)))
        #expect(story.run.outcome == .exited(.coordinator, .killed(signal: 9), nil))
    }

    @Test func `a job that is stopped while its coordinator is replaced ends in order`() {
        var story = Self.replacing()
        story.apply(.ended(Self.closed))
        story.apply(.exited(.coordinator, .killed(signal: 9)))
        #expect(story.apply(.stopRequested) == [.terminate(.rank(1)), .terminate(.rank(0))])
        story.end([.rank(0), .rank(1)])
        #expect(story.run.outcome == .done && story.run.isOver)
    }

    @Test(arguments: [nil, ProcessEnd.killed(signal: 9)])
    func `a job that is stopped while it is not known how its coordinator is ends, too`(
        exit: ProcessEnd?
    ) {
        var story = Self.replacing()
        let event: JobRun.Event = exit.map { .exited(.coordinator, $0) } ?? .ended(Self.closed)
        #expect(story.apply(event).isEmpty)
        let ranks: [JobRun.Action] = [.terminate(.rank(1)), .terminate(.rank(0))]
        let coordinator: [JobRun.Action] = exit == nil ? [.terminate(.coordinator)] : []
        #expect(story.apply(.stopRequested) == ranks + coordinator)
        // One that hangs is killed.
        #expect(
            story.apply(.tick, after: .seconds(4)).contains(.kill(.coordinator)) == (exit == nil))
        story.end([.rank(0), .rank(1)] + (exit == nil ? [.coordinator] : []))
        #expect(story.run.outcome == .done && story.run.isOver)
    }

    @Test(arguments: [true, false])
    func `a coordinator that ended in order is not started again`(isLossKnown: Bool) {
        var story = Self.replacing()
        if isLossKnown { story.apply(.ended(Self.closed)) }
        story.apply(.exited(.coordinator, .exited(0)))
        story.apply(.tick, after: .seconds(4))
        story.end([.rank(0), .rank(1)])
        #expect(story.run.outcome == .done && story.run.isOver)
    }

    @Test func `ranks wait from when the coordinator fell silent, not from when it is killed`() {
        var story = Self.replacing(limit: .seconds(5))
        story.apply(.ended(.coordinatorLost(reason: "silent for 10 s")))
        #expect(story.apply(.tick, after: .seconds(4)) == [.kill(.coordinator)])
        story.apply(.exited(.coordinator, .killed(signal: 9)))
        #expect(
            story.apply(.tick, after: .milliseconds(1500)) == [
                .terminate(.rank(1)), .terminate(.rank(0)),
            ])
    }

    @Test func `a coordinator that ended the job is not started again`() {
        var story = Self.replacing()
        story.apply(.exited(.coordinator, .exited(3)))
        story.apply(.ended(JobRunTests.lost))
        #expect(story.run.outcome == .ended(JobRunTests.lost))
    }

    @Test func `a rank that lived long begins anew, and with restart never none is started`() {
        var plan = RestartPlan(.onFailure)
        for _ in 0 ..< 3 {
            _ = plan.ended(.rank(1), now: .zero)
            #expect(plan.due(now: .seconds(30)) == [.rank(1)])
        }
        #expect(plan.ended(.rank(1), now: .seconds(91)) == "it is started again in 1 s")
        #expect(plan.due(now: .seconds(92)) == [.rank(1)])
        var never = RestartPlan(.never)
        #expect(never.ended(.rank(1), now: .zero).contains("restart: never"))
        #expect(never.due(now: .seconds(1000)).isEmpty)
    }
}
