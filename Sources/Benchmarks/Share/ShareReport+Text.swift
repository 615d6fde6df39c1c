import Foundation
import Models
import Planner

extension ShareReport {
    /// The report for people.
    ///
    /// - Parameter explained: Whether each figure of the cluster is followed by its formula.
    package func text(explained: Bool) -> String {
        var lines = head
        lines += decode.lines("decode, \(request.batch) sequences of \(request.context) tokens")
        if let prefill {
            lines += prefill.lines("prefill of a prompt of \(prefill.tokens) tokens")
        }
        if let topology {
            lines.append("\(request.ranks) such ranks on \(topology)")
            let width = cluster.map(\.figure.name.count).max() ?? 0
            for line in cluster {
                let figure = line.figure
                lines.append(
                    "  " + figure.name.padded(width) + figure.text.leading(18)
                        + "  \(line.origin.rawValue)")
                if explained {
                    lines.append("      = \(figure.formula)  (\(figure.source))")
                }
            }
            lines.append("")
        }
        lines.append("left out")
        lines += omissions.map { "  " + $0 }
        if !isFinite { lines.append("WRONG: a logit is not finite") }
        return lines.joined(separator: "\n") + "\n"
    }

    private var head: [String] {
        func bytes(_ value: Int) -> String { Figure.text(Double(value), .bytes) }
        func rate(_ value: Double) -> String { Figure.text(value, .operations) + "/s" }
        return [
            "\(request.model), one of \(request.ranks) ranks: \(request.expertsPerRank) experts of "
                + "a block, weights in \(request.format), routing \(request.routing), "
                + "seed \(request.seed)",
            "memory: \(bytes(memory.weights)) weights of blocks, \(bytes(memory.head)) head, "
                + "\(bytes(memory.cache)) cache; resident \(bytes(memory.resident)) of "
                + "\(bytes(memory.free)) that were free",
            "limits measured before and after: \(request.threads) threads (\(request.processor)) "
                + "read \(Figure.text(limits.readBytesPerSecond, .bytesPerSecond)) and compute "
                + "\(rate(limits.operationsPerSecond)), gates "
                + rate(limits.wideOperationsPerSecond),
            "the same blocks run again in every step; their weights are larger than the caches, so "
                + "each step reads them from memory; rows that stay in a cache may beat its limit",
            "",
        ]
    }
}

extension ShareReport.Phase {
    fileprivate func lines(_ title: String) -> [String] {
        var lines = [
            title + ", measured",
            String(
                format: "  a block: %.1f rows for this rank's experts (even: %.0f), %.1f experts "
                    + "with rows (even: %.1f), %.1f copies to other nodes", expertRows, evenRows,
                expertsWithRows, evenExpertsWithRows, copies),
        ]
        for block in blocks {
            lines.append(
                "  block (\(block.kind.name)), \(block.measured) measured of \(block.inModel): "
                    + Figure.text(block.seconds, .seconds))
            lines += block.parts.map { $0.line(indent: 4) }
        }
        if let head { lines.append(head.line(indent: 2)) }
        lines.append("  rest".padded(14) + Figure.text(restSeconds, .seconds).leading(12))
        let times = steps.map { Figure.text($0, .seconds) }
        lines.append(
            "  measured steps: \(times.joined(separator: ", ")); the whole model: "
                + Figure.text(modelSeconds, .seconds))
        lines.append("")
        return lines
    }
}

extension ShareReport.Part {
    /// A part beside its limit.
    fileprivate func line(indent: Int) -> String {
        let name = String(repeating: " ", count: indent) + part.rawValue
        let reached = seconds > 0 ? limitSeconds / seconds : 0
        let bound =
            isBoundByMemory
            ? "\(Figure.text(bytes, .bytes)) from memory" : Figure.text(operations, .operations)
        return name.padded(14) + Figure.text(seconds, .seconds).leading(12) + "  limit "
            + Figure.text(limitSeconds, .seconds).leading(10)
            + Figure.text(reached, .share).leading(8) + "  (\(bound))"
    }
}

extension String {
    fileprivate func padded(_ width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }

    fileprivate func leading(_ width: Int) -> String {
        String(repeating: " ", count: max(1, width - count)) + self
    }
}
