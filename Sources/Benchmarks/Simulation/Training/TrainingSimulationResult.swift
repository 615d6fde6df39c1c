package import Pipeline
import Planner

/// What a simulated training step came to, as `--json` prints it; seconds of virtual time.
package struct TrainingSimulationResult: Encodable, Sendable {
    /// Where one rank's step went.
    package struct RankTimes: Encodable, Sendable {
        package let rank: Int
        package let stage: Int
        /// What it computed.
        package let computeSeconds: Double
        /// Outside its steps of computing, from the first rank's begin to the last one's end.
        package let bubbleSeconds: Double
        /// The same in the schedule's own simulation, which knows no network.
        package let scheduleBubbleSeconds: Double
        /// Of all dispatches and combines, from the start of each until it had everything.
        package let travelSeconds: Double
        /// In which it only waited for them.
        package let exposedSeconds: Double
    }

    package let topology: String
    package let rankCount: Int
    /// Ranks of a pipeline, and those that share the experts of a stage.
    package let stages: Int
    package let groupSize: Int
    package let schedule: ScheduleKind
    package let microBatches: Int
    /// Blocks of a stage.
    package let blocks: Int
    /// Of a micro-batch.
    package let tokens: Int
    package let seed: UInt64
    /// From the begin to the end of the last rank's last step of computing.
    package let stepSeconds: Double
    /// The schedule's own simulation, which knows no network.
    package let scheduleSeconds: Double
    /// By the planner's formulas, which add travel to what computes.
    package let plannedSeconds: Double
    /// In a stage's travel of one direction there, what exchanges cost beyond their bytes.
    package let exchangeSeconds: Double
    package let ranks: [RankTimes]
    /// The busiest links, busiest first.
    package let links: [SimulationResult.LinkUse]
    /// Straggler, slow link: what a real job's ranks would say.
    package let findings: [String]
    /// Lost ranks, each as most of the others name it.
    package let losses: [String]
    /// Of all virtual times of all ranks: equal for equal seeds, on any machine.
    package let history: String
    /// What the simulation leaves out.
    package let leftOut: [String]
}

extension TrainingSimulationResult {
    /// Ranks that are listed one by one.
    private static let mostLines = 16

    /// As people read it.
    package var text: String {
        let head =
            "simulated: a step of \(schedule.title) on \(rankCount) ranks of \(topology): "
            + "\(stages) stages of \(blocks) blocks, EP \(groupSize), \(microBatches) micro-batches"
            + " of \(tokens) tokens, seed \(seed)"
        return SimulationResult.text(
            head, times: times, links: links, part: "step", findings: findings, losses: losses,
            history: history, leftOut: leftOut)
    }

    private func seconds(_ value: Double) -> String { Figure.text(value, .seconds) }

    private var times: [String] {
        func mean(_ value: KeyPath<RankTimes, Double>) -> Double {
            ranks.reduce(0) { $0 + $1[keyPath: value] } / Double(max(1, ranks.count))
        }
        let slower = scheduleSeconds > 0 ? stepSeconds / scheduleSeconds : 1
        var lines = [
            "step: \(seconds(stepSeconds)) (simulated)",
            "  the schedule without a network: \(seconds(scheduleSeconds)), so that the network"
                + " costs \(Figure.text(slower - 1, .share))",
            "  by the formulas of apus plan: \(seconds(plannedSeconds)) (predicted; "
                + "\(seconds(exchangeSeconds)) of a stage's travel is exchangeMicroseconds)",
            "bubble: mean \(seconds(mean(\.bubbleSeconds))), of the schedule alone "
                + seconds(mean(\.scheduleBubbleSeconds)),
            "all-to-all: mean \(seconds(mean(\.travelSeconds))), of which exposed "
                + seconds(mean(\.exposedSeconds)),
        ]
        let listed = ranks.sorted { ($1.exposedSeconds, $0.rank) < ($0.exposedSeconds, $1.rank) }
            .prefix(Self.mostLines).sorted { $0.rank < $1.rank }
        if ranks.count > Self.mostLines {
            lines.append("the \(Self.mostLines) ranks with the most exposed all-to-all:")
        }
        lines += listed.map {
            "  rank \($0.rank), stage \($0.stage): computes \(seconds($0.computeSeconds)), bubble "
                + "\(seconds($0.bubbleSeconds)) (schedule \(seconds($0.scheduleBubbleSeconds))), "
                + "exposed \(seconds($0.exposedSeconds)) of \(seconds($0.travelSeconds))"
        }
        return lines
    }
}
