import Testing
import Topology

@testable import Cluster

/// A job that goes on without a rank, as its launcher sees it.
@Suite struct JobRunLossTests {
    @Test func `a job that goes on starts a lost rank again, each time later, five times`() {
        var story = JobRunTests.Story()
        var configuration = JobRun.Configuration(
            ranks: [0, 1], joinLimit: .seconds(60), drainLimit: .seconds(10))
        configuration.survivesLosses = true
        configuration.restart = .onFailure
        story.run = JobRun(configuration)
        story.apply(.begun)
        story.apply(.started(.coordinator))
        story.apply(.listening)
        for rank in [0, 1] as [Rank] { story.apply(.started(.rank(rank))) }
        story.apply(.told(JobRunTests.snapshot(.ready), http: JobRunTests.endpoint))
        for pause in [1, 2, 4, 8, 16] {
            #expect(
                story.apply(.exited(.rank(1), .killed(signal: 9))) == [
                    .report(
                        1, .killed(signal: 9), plan: "it is started again in \(pause) s")
                ])
            #expect(story.apply(.tick, after: .milliseconds(pause * 1000 - 1)).isEmpty)
            #expect(story.apply(.tick, after: .milliseconds(1)) == [.restart(1)])
            story.apply(.started(.rank(1)))
            #expect(story.apply(.tick).isEmpty)
        }
        let last = story.apply(.exited(.rank(1), .exited(1)))
        #expect(
            last == [
                .report(
                    1, .exited(1),
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

    @Test func `an exit that the coordinator explains as a loss does not end the job`() {
        var story = Self.survivor()
        #expect(story.apply(.exited(.rank(1), .killed(signal: 9))).isEmpty)
        let told = Self.losing(1, silent: 0.1)
        #expect(
            story.apply(.told(told, http: nil)) == [
                .show(told),
                .report(
                    1, .killed(signal: 9), plan: "it is not started again (restart: never)"),
            ])
        #expect(story.run.isRunning)
    }

    @Test func `a rank that was given up and does not end is killed`() {
        var story = Self.survivor()
        story.apply(.told(Self.losing(1, silent: 2), http: JobRunTests.endpoint))
        #expect(story.apply(.tick, after: .seconds(60)).isEmpty)
        story.apply(.told(Self.losing(1, silent: 11), http: JobRunTests.endpoint))
        #expect(story.apply(.tick) == [.kill(.rank(1))])
    }

    @Test func `a rank that lived long begins anew, and with restart never none is started`() {
        var plan = RestartPlan(.onFailure)
        for _ in 0 ..< 3 {
            _ = plan.ended(1, now: .zero)
            #expect(plan.due(now: .seconds(30)) == [1])
        }
        #expect(plan.ended(1, now: .seconds(91)) == "it is started again in 1 s")
        #expect(plan.due(now: .seconds(92)) == [1])
        var never = RestartPlan(.never)
        #expect(never.ended(1, now: .zero).contains("restart: never"))
        #expect(never.due(now: .seconds(1000)).isEmpty)
    }
}
