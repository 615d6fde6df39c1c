import Foundation
import Pipeline
import Topology
import Transport

/// One step as every rank measured it, and what the simulation makes of the same step times.
struct MeasuredStep {
    let schedule: Schedule
    let dataRanks: Int
    /// All ranks, data rank by data rank, in seconds.
    let timeline: Timeline

    /// Gathers the last step of all ranks. Collective.
    static func gather(_ trainer: RankTrainer, _ fabric: any Fabric) throws -> MeasuredStep {
        let all = try fabric.allGather(
            Array(try JSONEncoder().encode(trainer.lanes)), label: "timeline",
            deadline: fabric.deadline(.seconds(60), "gathering the timeline"))
        let entries = try all.flatMap {
            try JSONDecoder().decode([TimelineEntry].self, from: Data($0))
        }
        let schedule = trainer.schedule
        return MeasuredStep(
            schedule: schedule, dataRanks: trainer.options.shape.dataRanks,
            timeline: .measured(
                title: "\(schedule.kind.title), measured", rankCount: fabric.rankCount,
                entries))
    }

    var makespan: Double {
        let compute = timeline.entries.filter { $0.lane == .compute }
        return (compute.map(\.end).max() ?? 0) - (compute.map(\.start).min() ?? 0)
    }

    /// Per rank, seconds of waits for an all-to-all inside overlapped pairs: the steady state.
    var exposedInPairs: [Double] { seconds(within: [.overlapped]) { $0.kind == .exposed } }

    /// Per rank, seconds that dispatches and combines took inside overlapped pairs, from the start
    /// of each until the rank had everything. Without overlap that is their travel.
    var travelInPairs: [Double] { seconds(within: [.overlapped], Self.isExchange) }

    /// Per rank, the same in the whole step.
    var travel: [Double] { seconds(within: Self.compute, Self.isExchange) }

    /// Per rank, seconds of waits for an all-to-all in the whole step.
    var exposed: [Double] { seconds(within: Self.compute) { $0.kind == .exposed } }

    private static let compute: Set<TimelineEntry.Kind> = [
        .forward, .backward, .backwardInput, .backwardWeight, .overlapped,
    ]

    private static func isExchange(_ entry: TimelineEntry) -> Bool {
        entry.kind == .transfer && ["dispatch", "combine"].contains(entry.label)
    }

    /// Per rank, the time of entries whose middle lies inside a step of these kinds.
    private func seconds(
        within kinds: Set<TimelineEntry.Kind>, _ isWanted: (TimelineEntry) -> Bool
    ) -> [Double] {
        (0 ..< timeline.rankCount).map { rank in
            let mine = timeline.entries.filter { $0.rank.rawValue == rank }
            let steps = mine.filter { $0.lane == .compute && kinds.contains($0.kind) }
            return mine.filter(isWanted).reduce(0) { sum, entry in
                let middle = (entry.start + entry.end) / 2
                let isInside = steps.contains { $0.start <= middle && middle <= $0.end }
                return isInside ? sum + entry.end - entry.start : sum
            }
        }
    }

    /// Pairs of a rank, at most.
    var pairCount: Int {
        schedule.steps.map { steps in
            steps.count { if case .overlapped = $0 { true } else { false } }
        }.max() ?? 0
    }
}

extension MeasuredStep {
    /// Writes the step under its plan: `NAME.svg`, `NAME-trace.json` for Perfetto, and `NAME.json`
    /// for `apus schedule --measured`.
    func write(to folder: String, name: String) throws {
        let planned = StepTimes([self]).planned
        let path = folder + "/" + name
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        try encoder.encode(timeline).write(to: URL(filePath: path + ".json"))
        try Timeline.svg([planned, timeline], axis: "time, seconds")
            .write(toFile: path + ".svg", atomically: true, encoding: .utf8)
        try Timeline.chromeTrace([planned, timeline], microsecondsPerUnit: 1e6)
            .write(to: URL(filePath: path + "-trace.json"))
    }
}
