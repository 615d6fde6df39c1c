import Pipeline

/// The measured steps of one schedule.
struct ScheduleProfile {
    /// Without overlap in pairs; empty where ranks share no experts.
    let apart: [MeasuredStep]
    /// As it is trained.
    let together: [MeasuredStep]

    /// The travel of the all-to-all of steps without overlap over their computation, all ranks
    /// together: 1 is the report's 1:1 (§3.2.1).
    static func travelRatio(_ apart: [MeasuredStep]) -> Double? {
        let travel = apart.reduce(0) { $0 + $1.travel.reduce(0, +) }
        let waits = apart.reduce(0) { $0 + $1.exposed.reduce(0, +) }
        let busy = apart.flatMap(\.timeline.entries).filter { $0.lane == .compute }
            .reduce(0) { $0 + $1.end - $1.start }
        return busy > waits ? travel / (busy - waits) : nil
    }

    /// The step of middle length.
    var middle: MeasuredStep {
        together.sorted { $0.makespan < $1.makespan }[together.count / 2]
    }

    var report: ProfileReport.ScheduleReport {
        let planned = StepTimes(together).planned
        let steps = Double(together.count)
        func mean(_ steps: [MeasuredStep], _ value: (MeasuredStep) -> [Double]) -> [Double] {
            guard let first = steps.first else { return [] }
            return (0 ..< first.timeline.rankCount).map { rank in
                steps.reduce(0) { $0 + value($1)[rank] } / Double(steps.count)
            }
        }
        let bubbles = mean(together) { $0.timeline.bubbles }
        return ProfileReport.ScheduleReport(
            schedule: together[0].schedule.kind,
            makespan: together.reduce(0) { $0 + $1.makespan } / steps,
            simulatedMakespan: planned.end, pairs: together[0].pairCount,
            travelRatio: Self.travelRatio(apart),
            ranks: bubbles.indices.map { rank in
                ProfileReport.RankReport(
                    rank: rank, bubble: bubbles[rank], simulatedBubble: planned.bubbles[rank],
                    allToAll: mean(apart, \.travelInPairs).element(rank),
                    exposed: apart.isEmpty ? nil : mean(together, \.exposedInPairs)[rank])
            })
    }
}

extension [Double] {
    fileprivate func element(_ index: Int) -> Double? { index < count ? self[index] : nil }
}
