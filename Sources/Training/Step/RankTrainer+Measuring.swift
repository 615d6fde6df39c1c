import Collectives
import Pipeline
import Topology
import Transport

/// What a rank's all-to-all took.
struct ExchangeTimes: Codable, Hashable, Sendable {
    /// Seconds from the start of each dispatch and combine until the rank had everything.
    var total = 0.0
    /// Seconds of them in which the rank only waited.
    var exposed = 0.0
    /// The part that computation hid; 0 where there was none.
    var hiddenShare: Double { total > 0 ? max(0, 1 - exposed / total) : 0 }
}

extension RankTrainer {
    /// The exchanges that began since the step did.
    private var records: [ExchangeRecord] {
        groups.flatMap { group in group.records.filter { $0.began >= stepBegan } }
    }

    /// What the all-to-all of the last step took.
    var exchangeTimes: ExchangeTimes {
        records.reduce(into: ExchangeTimes()) { times, record in
            times.total += record.wireTime / .seconds(1)
            times.exposed += record.exposedTime / .seconds(1)
        }
    }

    /// What this rank did in the last step, on both lanes, under its number among all ranks.
    var lanes: [TimelineEntry] {
        let own = fabric.rank
        func entry(
            _ kind: TimelineEntry.Kind, _ label: String, _ start: UInt64, _ end: UInt64
        ) -> TimelineEntry {
            TimelineEntry(
                rank: own, lane: TimelineEntry.Lane.communication, kind: kind, label: label,
                start: Double(start) / 1e9, end: Double(end) / 1e9)
        }
        let work = entries.map { $0.of(own) }
        let travel = records.map { entry(.transfer, $0.kind.rawValue, $0.began, $0.ended) }
        // Drawn last, over what they are a part of.
        let waits = records.flatMap { record in
            record.waits.map {
                entry(.exposed, "wait for \(record.kind.rawValue)", $0.lowerBound, $0.upperBound)
            }
        }
        return work + travel + waits
    }
}
