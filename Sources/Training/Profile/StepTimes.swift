import Pipeline
import Topology

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
