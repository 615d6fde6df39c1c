import Planner

/// What texts in virtual time came to, as `--json` prints it; seconds of virtual time.
package struct ServingSimulationResult: Encodable, Sendable {
    /// The exchanges of one block: the mean of ranks and steps.
    package struct Layer: Encodable, Sendable {
        package let layer: Int
        /// From its start until the rank had everything.
        package let dispatchSeconds: Double
        package let combineSeconds: Double
        /// In which the rank only waited.
        package let exposedDispatchSeconds: Double
        package let exposedCombineSeconds: Double
    }

    package let topology: String
    package let rankCount: Int
    /// Texts of a rank.
    package let streams: Int
    package let prompt: Int
    package let newTokens: Int
    package let blocks: Int
    package let mode: String
    package let overlaps: Bool
    package let seed: UInt64
    package let steps: Int
    /// Seconds per token after the first: the mean of all texts, and the slowest.
    package let tpotSeconds: Double
    package let longestTPOTSeconds: Double
    /// Until the first token: the mean of all texts, which all begin at once.
    package let ttftSeconds: Double
    /// Until the last token of all texts.
    package let runSeconds: Double
    /// Of all ranks, while all texts are written.
    package let tokensPerSecond: Double
    /// By the planner's formulas, and what exchanges cost there beyond their bytes.
    package let plannedTPOTSeconds: Double
    package let plannedFixedSeconds: Double
    package let layers: [Layer]
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

extension ServingSimulationResult {
    /// Blocks that are listed one by one.
    private static let mostLines = 16

    /// As people read it.
    package var text: String {
        let head =
            "simulated: \(rankCount) ranks of \(topology) write \(streams) texts each, prompts of "
            + "\(prompt), \(newTokens) new tokens, \(blocks) blocks, mode \(mode)"
            + (overlaps ? ", two micro-batches" : "") + ", seed \(seed)"
        return SimulationResult.text(
            head, times: times, links: links, part: "run", findings: findings, losses: losses,
            history: history, leftOut: leftOut)
    }

    private func seconds(_ value: Double) -> String { Figure.text(value, .seconds) }

    private var times: [String] {
        var lines = [
            "TPOT: \(seconds(tpotSeconds)) (simulated), slowest text "
                + seconds(longestTPOTSeconds),
            "  by the formulas of apus plan: \(seconds(plannedTPOTSeconds)) (predicted; "
                + "\(seconds(plannedFixedSeconds)) of it is exchangeMicroseconds)",
            "TTFT: \(seconds(ttftSeconds)) (simulated; all texts begin at once)",
            "tokens: \(Figure.text(tokensPerSecond, .tokensPerSecond)) of all ranks (simulated), "
                + "\(steps) steps in \(seconds(runSeconds))",
        ]
        for layer in layers.prefix(Self.mostLines) {
            lines.append(
                "  layer \(layer.layer): dispatch \(seconds(layer.dispatchSeconds)), exposed "
                    + "\(seconds(layer.exposedDispatchSeconds)); combine "
                    + "\(seconds(layer.combineSeconds)), exposed "
                    + "\(seconds(layer.exposedCombineSeconds)) per step")
        }
        if layers.count > Self.mostLines {
            lines.append("  and \(layers.count - Self.mostLines) more layers (--json lists all)")
        }
        return lines
    }
}
