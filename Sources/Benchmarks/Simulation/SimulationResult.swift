import Topology

/// What a simulation found, as `--json` prints it.
package struct SimulationResult: Encodable, Sendable {
    /// A dispatch, or a combine.
    package struct Times: Encodable, Sendable {
        package let name: String
        /// Of the rank that took longest, and of the median rank; virtual time.
        package let microseconds: Double
        package let medianMicroseconds: Double
        /// Bytes that all links between nodes, and inside nodes, carried in it.
        package let carriedBytes: Double
        /// The link that would need longest for what it carried.
        package let bottleneck: LinkUse?
    }

    /// What one link carried in one half.
    package struct LinkUse: Encodable, Sendable {
        package let link: String
        package let half: String
        package let bytes: Double
        /// What the link needs for these bytes at its full rate.
        package let leastMicroseconds: Double
        /// That time over the time of the half.
        package let use: Double
    }

    /// `bytes` or `flows`.
    package let detail: String
    package let topology: String
    package let ranks: Int
    package let groupSize: Int
    package let seed: UInt64
    package let mode: String
    /// `static` or `adaptive`.
    package let networkRouting: String
    package let tokensPerRank: Int
    package let halves: [Times]
    /// The busiest links of each half, busiest first.
    package let links: [LinkUse]
    /// Straggler, slow link: what a real job's ranks would say.
    package let findings: [String]
    /// Lost ranks, each as the error of its first survivor names it.
    package let losses: [String]
    /// Rows that were not what brute force gives; nil where no bytes moved.
    package let wrong: Int?
    /// Of all virtual times of all ranks: equal for equal seeds, on any machine.
    package let history: String
    /// What the simulation leaves out.
    package let leftOut: [String]

    /// How many links of a half are kept.
    static let linksPerHalf = 8
}

extension SimulationResult {
    /// The links of one half, busiest first.
    static func uses(
        _ links: LinkMap, half: String, carried: [Double], nanoseconds: UInt64
    ) -> [LinkUse] {
        zip(links.links, carried).filter { $1 > 0 }
            .map { link, bytes in
                let least = bytes / link.bytesPerSecond * 1e6
                return LinkUse(
                    link: link.name, half: half, bytes: bytes, leastMicroseconds: least,
                    use: nanoseconds > 0 ? least * 1000 / Double(nanoseconds) : 0)
            }
            .sorted { ($0.leastMicroseconds, $1.link) > ($1.leastMicroseconds, $0.link) }
    }

    /// The busiest links of one part, busiest first, as people read them.
    static func lines(of links: [LinkUse], part: String) -> [String] {
        let number = Report.number
        return links.prefix(4).enumerated().map { index, link in
            let bytes = "\(number(link.bytes / 1e6, 3)) MB"
            let share = "\(number(link.use * 100, 0)) %"
            guard index == 0 else { return "  \(link.link): \(bytes), \(share)" }
            return "  bottleneck: \(link.link), \(bytes), needs "
                + "\(number(link.leastMicroseconds, 1)) us at its rate: \(share) of the \(part)"
        }
    }

    /// What every text of a simulation ends with.
    ///
    /// - Parameter wrong: Rows that were not what brute force gives; nil where none was checked.
    static func ending(
        findings: [String], losses: [String], wrong: Int? = nil, history: String,
        leftOut: [String]
    ) -> [String] {
        findings + losses.map { "lost: \($0)" } + (wrong.map { ["#wrong \($0)"] } ?? [])
            + ["history \(history)"] + leftOut.map { "left out: \($0)" }
    }

    /// The text of a run: its head, its times and busiest links unless a rank was lost, and the
    /// ending.
    static func text(
        _ head: String, times: [String], links: [LinkUse], part: String, findings: [String],
        losses: [String], history: String, leftOut: [String]
    ) -> String {
        let measured = losses.isEmpty ? times + lines(of: links, part: part) : []
        let end = ending(findings: findings, losses: losses, history: history, leftOut: leftOut)
        return ([head] + measured + end).joined(separator: "\n")
    }

    /// Whether the simulation ended as it should: all ranks alive, and every byte right.
    package var isSound: Bool { losses.isEmpty && wrong ?? 0 == 0 }

    /// As people read it.
    package var text: String {
        let number = Report.number
        var lines = [
            "simulated: \(ranks) ranks of \(topology) in EP groups of \(groupSize), mode \(mode), "
                + "\(networkRouting) routing, \(tokensPerRank) tokens per rank, seed \(seed)",
            detail == "bytes"
                ? "detail: bytes (the product's own dispatch and combine; every byte is checked)"
                : "detail: flows (sizes alone move; no byte exists)",
        ]
        for half in halves {
            lines.append(
                "\(half.name): \(number(half.microseconds, 1)) us, median rank "
                    + "\(number(half.medianMicroseconds, 1)) us, links carried "
                    + "\(number(half.carriedBytes / 1e6, 2)) MB")
            lines += Self.lines(of: links.filter { $0.half == half.name }, part: "half")
        }
        lines += Self.ending(
            findings: findings, losses: losses, wrong: wrong, history: history, leftOut: leftOut)
        return lines.joined(separator: "\n")
    }
}
