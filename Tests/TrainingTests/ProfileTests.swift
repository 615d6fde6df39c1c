import Collectives
import Foundation
import Models
import Pipeline
import Testing
import Topology
import Transport

@testable import Training

/// Profiles of tiny jobs: that they measure what they say, not how long it takes.
@Suite(.serialized) struct ProfileTests {
    @Test(arguments: [false, true])
    func `a profile reports every rank under both schedules`(sleeps: Bool) throws {
        let folder = try RunTests.Folder()
        let path = try RunTests.writeJob(
            folder.path, "schedule: dualpipe\npipelineRanks: 2\ndataRanks: 2")
        let job = try TrainingJob.load(path: path)
        var launch = TrainingLaunch()
        launch.profiles = true
        launch.profile.steps = 2
        launch.profile.sleeps = sleeps
        launch.profile.matchesTravel = sleeps
        launch.profile.routesEvenly = sleeps
        launch.profile.against = "1f1b"
        let chosen = launch
        try job.options().shape.runInThreads { place in
            try chosen.run(
                job, observer: TrainingObserver(), fabric: place.fabric, experts: place.experts)
        }
        let data = try #require(
            FileManager.default.contents(atPath: folder.path + "/run/profile.json"))
        let report = try JSONDecoder().decode(ProfileReport.self, from: data)
        #expect(report.sleeps == sleeps)
        #expect(report.schedules.map(\.schedule) == [.dualPipe, .oneForwardOneBackward])
        #expect(report.schedules.map(\.pairs) == [1, 0])
        for schedule in report.schedules {
            #expect(schedule.ranks.map(\.rank) == [0, 1, 2, 3])
            #expect(schedule.makespan > 0 && schedule.simulatedMakespan > 0)
            #expect(schedule.ranks.allSatisfy { $0.bubble < schedule.makespan })
            #expect(schedule.ranks.allSatisfy { $0.allToAll != nil && $0.exposed != nil })
            let name = folder.path + "/run/profile-\(schedule.schedule.rawValue)"
            let svg = try String(contentsOfFile: name + ".svg", encoding: .utf8)
            #expect(svg.contains("simulated with the measured step times"))
            #expect(svg.contains("measured<") && svg.contains("time, seconds<"))
            #expect(FileManager.default.fileExists(atPath: name + "-trace.json"))
        }
        #expect(report.lines.last?.hasPrefix("1F1B over DualPipe: ") == true)
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/run/checkpoints"))
    }

    @Test func `a replayed step makes the exchanges and the parts of the recorded one`() throws {
        let shape = ParallelShape(
            schedule: .dualPipeV, pipelineRanks: 1, dataRanks: 2, sharesExperts: true,
            microBatches: 4)
        let options = tinyOptions(shape, layers: 4)
        try shape.runInThreads { place in
            let trainer = try RankTrainer(options, fabric: place.fabric, experts: place.experts)
            let data = shape.dataRank(of: place.fabric.rank)
            let batch = (0 ..< 4).map { tinyBatch(options, step: 0, index: 4 * data + $0) }
            _ = trainer.begin(batch)
            let recorder = StepRecorder(trainer.worker, groups: trainer.groups)
            try trainer.perform(recorder, interleaves: true)
            let sent = { (record: ExchangeRecord) in record.physicalBytes.reduce(0, +) }
            let bytes = trainer.groups.map { $0.records.map(sent) }
            let labels = trainer.entries.map(\.label)
            let recording = recorder.finish()
            #expect(recording.computeSeconds > 0)
            let replayer = StepReplayer(
                recording, groups: trainer.groups, boundary: trainer.worker.boundary)
            replayer.scale = 0
            for interleaves in [false, true] {
                let before = trainer.groups.map { $0.records.count }
                try trainer.perform(replayer, interleaves: interleaves)
                #expect(trainer.entries.map(\.label) == labels)
                for (index, group) in trainer.groups.enumerated() {
                    let made = group.records[before[index]...].map(sent)
                    #expect(Array(made) == bytes[index])
                }
            }
        }
    }

    @Test func `of several recordings the middle time counts`() {
        let cell = Cell(stage: StageID(rawValue: 0), microBatch: MicroBatchID(rawValue: 0))
        func recording(_ forward: Double, _ backward: Double, _ weight: Double) -> StepRecording {
            StepRecording(cells: [
                cell: StepRecording.CellRecord(
                    forward: [[.compute(seconds: forward)]],
                    backward: [[.compute(seconds: backward)]], weights: [[weight]])
            ])
        }
        let middle = StepRecording.middle(of: [
            recording(1, 30, 200), recording(3, 10, 100), recording(2, 20, 300),
        ])
        #expect(middle.cells[cell]?.forward[0].map(\.seconds) == [2])
        #expect(middle.cells[cell]?.backward[0].map(\.seconds) == [20])
        #expect(middle.cells[cell]?.weights == [[200]])
        #expect(middle.computeSeconds == 222)
    }

    @Test func `even routing gives every expert as many tokens`() throws {
        let options = tinyOptions(ParallelShape(microBatches: 2), layers: 2)
        let trainer = try RankTrainer(options, fabric: makeLoopbackFabrics(rankCount: 1)[0])
        trainer.context.routesEvenly = true
        let batch = (0 ..< 2).map { tinyBatch(options, step: 0, index: $0) }
        let report = try trainer.run(batch)
        #expect(report.expertViolation == 0)
        #expect(report.loss.isFinite)
    }

    @Test func `a time that rounds to nothing has no sign`() {
        let rank = ProfileReport.RankReport(rank: 0, bubble: 0.0123, simulatedBubble: -1e-9)
        let schedule = ProfileReport.ScheduleReport(
            schedule: .dualPipe, makespan: 1, simulatedMakespan: 1, pairs: 0, ranks: [rank])
        let report = ProfileReport(
            sleeps: false, routesEvenly: false, steps: 1, schedules: [schedule])
        #expect(report.lines.last == "  rank 0: bubble 12.3 ms, simulated 0.0 ms")
    }

    @Test func `waits inside pairs are told from waits outside`() throws {
        let schedule = try ScheduleKind.dualPipe.schedule(ranks: 2, microBatches: 4)
        func entry(_ kind: TimelineEntry.Kind, _ start: Double, _ end: Double) -> TimelineEntry {
            TimelineEntry(
                rank: 0, lane: kind == .overlapped || kind == .forward ? .compute : .communication,
                kind: kind, label: kind == .transfer ? "combine" : "x", start: start, end: end)
        }
        let step = MeasuredStep(
            schedule: schedule, dataRanks: 1,
            timeline: Timeline(
                title: "t", rankCount: 1,
                entries: [
                    entry(.forward, 0, 2), entry(.overlapped, 2, 6), entry(.exposed, 1, 1.5),
                    entry(.exposed, 3, 4), entry(.exposed, 6.5, 7),
                    entry(.transfer, 0.5, 1.5), entry(.transfer, 2.5, 4),
                ]))
        #expect(step.exposedInPairs == [1])
        #expect(step.exposed == [1.5])
        #expect(step.travelInPairs == [1.5])
        #expect(step.travel == [2.5])
        #expect(step.makespan == 6)
    }
}
