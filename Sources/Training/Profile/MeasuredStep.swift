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
            deadline: Deadline(.seconds(60), "gathering the timeline"))
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

/// Mean step times of a rank, by what the step is and which way its micro-batch goes: what a
/// simulation is fed with.
struct StepTimes {
    private struct Key: Hashable {
        let rank: Int
        let kind: TimelineEntry.Kind
        let isSecondDirection: Bool

        init(_ entry: TimelineEntry, dataRank: Int = 0, ranks: Int = 0) {
            rank = dataRank * ranks + entry.rank.rawValue
            kind = entry.kind
            isSecondDirection = entry.isSecondDirection
        }
    }

    private var sums: [Key: (seconds: Double, count: Int)] = [:]
    /// By the pair that made it and what it is: how long before the pair's end a send began.
    private var leads: [Transfer.Content: [Key: (seconds: Double, count: Int)]] = [:]
    /// What a transfer costs at least: to write it and to read it.
    private var sends: [Double] = []
    private var receives: [Double] = []
    private let schedule: Schedule
    private let dataRanks: Int

    init(_ steps: [MeasuredStep]) {
        schedule = steps[0].schedule
        dataRanks = steps[0].dataRanks
        for entry in steps.flatMap(\.timeline.entries) {
            if entry.label.hasPrefix("send") {
                sends.append(entry.end - entry.start)
            } else if entry.label.hasPrefix("receive") {
                receives.append(entry.end - entry.start)
            }
            guard entry.lane == .compute else { continue }
            let key = Key(entry)
            let old = sums[key] ?? (0, 0)
            sums[key] = (old.seconds + entry.end - entry.start, old.count + 1)
        }
        for step in steps { addLeads(step.timeline) }
    }

    private mutating func addLeads(_ timeline: Timeline) {
        for rank in 0 ..< timeline.rankCount {
            let mine = timeline.entries.filter { $0.rank.rawValue == rank }
            for pair in mine where pair.kind == .overlapped {
                for content in [Transfer.Content.activation, .gradient] {
                    let name = "send \(content.rawValue)"
                    guard
                        let send = mine.first(where: {
                            $0.label.hasPrefix(name) && pair.start <= $0.start
                                && $0.start < pair.end
                        })
                    else { continue }
                    let old = leads[content]?[Key(pair)] ?? (0, 0)
                    leads[content, default: [:]][Key(pair)] = (
                        old.seconds + pair.end - send.start, old.count + 1
                    )
                }
            }
        }
    }

    private var communication: Double {
        let sent = sends.sorted()
        return (sent.isEmpty ? 0 : sent[sent.count / 2]) + (receives.min() ?? 0)
    }

    private func simulate(dataRank: Int) -> Simulation {
        func mean(
            _ sums: [Key: (seconds: Double, count: Int)]?, _ rank: Rank, _ step: Step
        ) -> Double {
            let entry = TimelineEntry(
                rank: rank, step: step, start: 0, end: 0,
                isSecondDirection: schedule.isSecondDirection(step))
            let key = Key(entry, dataRank: dataRank, ranks: schedule.rankCount)
            return sums?[key].map { $0.seconds / Double($0.count) } ?? 0
        }
        return schedule.simulate(
            communication: communication, lead: { mean(leads[$2], $0, $1) },
            duration: { mean(sums, $0, $1) })
    }

    /// The plan with these times, all data ranks on one time axis.
    var planned: Timeline {
        let entries = (0 ..< dataRanks).flatMap { data in
            simulate(dataRank: data).timeline.entries.map { entry in
                TimelineEntry(
                    rank: Rank(rawValue: data * schedule.rankCount + entry.rank.rawValue),
                    lane: entry.lane, kind: entry.kind, label: entry.label, start: entry.start,
                    end: entry.end, isSecondDirection: entry.isSecondDirection)
            }
        }
        return Timeline(
            title: "\(schedule.kind.title), simulated with the measured step times",
            rankCount: dataRanks * schedule.rankCount, entries: entries)
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
