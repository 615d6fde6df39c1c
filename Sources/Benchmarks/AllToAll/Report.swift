import Foundation

/// A result as people read it.
public struct Report: Sendable {
    /// Which table.
    public enum Format: String, Sendable, CaseIterable {
        /// Ours: both halves with everything that is known.
        case apus
        /// nccl-tests' columns.
        case nccl
        /// OSU micro-benchmarks' columns.
        case osu
    }

    private let result: AllToAllResult
    private let header: [String]

    /// - Parameter header: Facts of the run, as `name: value`.
    public init(_ result: AllToAllResult, header: [String]) {
        self.result = result
        self.header = header
    }

    /// The whole report.
    public func text(_ format: Format) -> String {
        let table =
            switch format {
            case .apus: apusTable()
            case .nccl: ncclTable()
            case .osu: osuTable()
            }
        return (header.map { "# \($0)" } + table).joined(separator: "\n")
    }

    private func apusTable() -> [String] {
        var lines = [
            Self.row([
                "", "p50 us", "p99 us", "min us", "max us", "logical GB/s", "physical GB/s",
                "skew us", "wait us", "efficiency",
            ])
        ]
        for (name, half) in [("dispatch", result.dispatch), ("combine", result.combine)] {
            lines.append(
                Self.row([
                    name, Self.number(half.p50Microseconds), Self.number(half.p99Microseconds),
                    Self.number(half.leastMicroseconds), Self.number(half.mostMicroseconds),
                    Self.number(half.logicalGigabytesPerSecond, 2),
                    Self.number(half.physicalGigabytesPerSecond, 2),
                    Self.number(half.skewMicroseconds), Self.number(half.waitMicroseconds),
                    Self.number(half.efficiency * 100, 0) + " %",
                ]))
        }
        let tokens = Double(max(1, result.ranks * result.options.tokenCount))
        if result.dispatch.crossingBytes > 0 {
            lines.append(
                "between nodes: a token goes to "
                    + Self.number(Double(result.dispatch.crossingRows) / tokens, 3)
                    + " others; busiest node "
                    + Self.number(result.dispatch.busiestNodeGigabytesPerSecond, 3)
                    + " GB/s in dispatch, "
                    + Self.number(result.combine.busiestNodeGigabytesPerSecond, 3)
                    + " GB/s in combine"
            )
        }
        let limit = result.limit
        lines.append(
            "limit: \(limit.kind), dispatch \(Self.number(limit.dispatchMicroseconds)) us "
                + "(\(Self.number(limit.dispatchGigabytesPerSecond, 2)) GB/s), combine "
                + "\(Self.number(limit.combineMicroseconds)) us "
                + "(\(Self.number(limit.combineGigabytesPerSecond, 2)) GB/s)"
        )
        for (name, peer) in (result.compare ?? [:]).sorted(by: { $0.key < $1.key }) {
            lines.append(
                "\(name): dispatch \(Self.number(peer.dispatchMicroseconds)) us "
                    + "(\(Self.number(peer.dispatchRatio, 2))x ours), combine "
                    + "\(Self.number(peer.combineMicroseconds)) us "
                    + "(\(Self.number(peer.combineRatio, 2))x)"
                    + ", both \(Self.number(peer.ratio, 2))x; best of its ways: \(peer.method)")
        }
        lines += result.findings
        lines.append("#wrong \(result.wrong)   hash \(result.hash)")
        return lines
    }

    private func ncclTable() -> [String] {
        let ranks = Double(result.ranks)
        var lines = [
            "#       size         count    type   time   algbw   busbw  #wrong",
            "#        (B)    (elements)            (us)  (GB/s)  (GB/s)",
        ]
        var sum = 0.0
        for (type, half) in [
            ("\(result.options.dispatchCodec)", result.dispatch),
            ("\(result.options.combineCodec)", result.combine),
        ] {
            let size = Double(half.logicalBytes) / ranks
            let algorithm = half.p50Microseconds > 0 ? size / half.p50Microseconds / 1000 : 0
            let bus = algorithm * (ranks - 1) / ranks
            sum += bus
            let elements = result.options.tokenCount * result.options.hiddenSize
            lines.append(
                String(
                    format: "%12.0f  %12d  %6@ %7.1f %7.2f %7.2f  %6d", size, elements,
                    type as NSString, half.p50Microseconds, algorithm, bus, result.wrong))
        }
        lines.append(
            "# Out of bounds values : \(result.wrong) \(result.wrong == 0 ? "OK" : "FAILED")")
        lines.append("# Avg bus bandwidth    : \(Self.number(sum / 2, 3))")
        return lines
    }

    private func osuTable() -> [String] {
        var lines: [String] = []
        for (name, half) in [("dispatch", result.dispatch), ("combine", result.combine)] {
            lines.append("# Apus \(name) (All-to-Allv) Latency Test")
            lines.append(
                "# Size       Avg Latency(us)   Min Latency(us)   Max Latency(us)  Iterations")
            lines.append(
                String(
                    format: "%-12d %15.2f %17.2f %17.2f %11d",
                    half.logicalBytes / max(1, result.ranks), half.meanMicroseconds,
                    half.leastMicroseconds,
                    half.mostMicroseconds, result.options.iterationCount))
        }
        return lines
    }

    private static func row(_ cells: [String]) -> String {
        cells.enumerated().map { index, cell in
            let width = index == 0 ? 9 : 13
            let padding = String(repeating: " ", count: max(0, width - cell.count))
            return index == 0 ? cell + padding : padding + cell
        }.joined(separator: " ")
    }

    /// A number with a fixed count of digits behind the point.
    static func number(_ value: Double, _ digits: Int = 1) -> String {
        String(format: "%.\(digits)f", value)
    }
}
