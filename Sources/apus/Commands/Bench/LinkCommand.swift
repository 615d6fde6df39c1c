import ArgumentParser
import Benchmarks
import Foundation
import Topology
import Transport

/// Latency and bandwidth of every pair of ranks.
struct LinkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "link",
        abstract: "Measures latency and bandwidth between every two ranks, and names the slowest.",
        discussion: """
            Examples:
              apus bench link --ranks 4 --matrix
              apus bench link --ranks 2 --transport tcp --json
              apus lab run topology/two-nodes-4g.yaml -- apus bench link
              mpirun -n 2 apus bench link

            Latency is half a round trip of a put with its signal, the median of up to 1000;
            bandwidth is one way, in messages of 1 MiB. Beside each pair stands what ucx_perftest
            (over verbs: ib_write_lat and ib_write_bw) reaches on the same path in the same run,
            where it is installed, and what raw RDMA writes and reads reach. RDMA devices are
            those of rank 0's node.
            """)

    @OptionGroup var group: RankOptions

    @Flag(help: "Print the whole matrix, not only a line per pair.")
    var matrix = false

    @Option(help: "Seconds to send per pair.")
    var seconds = 0.5

    @Flag(inversion: .prefixedNo, help: "Run ucx_perftest or perftest on the same pairs.")
    var perftest = true

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard seconds > 0, seconds <= 60 else {
            throw ValidationError("--seconds \(seconds) is outside 0...60")
        }
        guard group.ranks >= 2 else {
            throw ValidationError("--ranks \(group.ranks): a link has two ranks")
        }
    }

    func run() throws {
        try group.onEveryRank { fabric in
            let measurement = try LinkMeasurement(fabric: fabric)
            let reference = perftest ? try PerftestReference(fabric: fabric, group: group) : nil
            var report = LinkReport(rankCount: fabric.rankCount, devices: VerbsDevices.ports())
            var round = 1
            for first in fabric.ranks {
                for second in fabric.ranks where second > first {
                    let figures = try measurement.measure(
                        (first, second), time: .seconds(seconds), round: round)
                    let raw = try measurement.measureVerbs(
                        (first, second), time: .seconds(seconds), round: round)
                    let peer = try reference?.measure((first, second), round: round)
                    round += 1
                    let all = try fabric.allGather(
                        try encoded(figures, raw, peer), label: "link figures",
                        deadline: fabric.deadline(.seconds(60), "link figures"))
                    try report.append(all[first.rawValue])
                }
            }
            try fabric.barrier(deadline: fabric.deadline(.seconds(60), "leave"))
            if fabric.rank == 0 { print(try json ? report.json() : report.text(matrix: matrix)) }
        }
    }

    private func encoded(
        _ figures: LinkFigures?, _ raw: VerbsFigures?, _ peer: PerftestFigures?
    ) throws -> [UInt8] {
        guard let figures else { return [] }
        return Array(
            try JSONEncoder().encode(LinkRow(figures: figures, verbs: raw, perftest: peer)))
    }
}

/// One pair, with its reference.
struct LinkRow: Codable {
    var figures: LinkFigures
    /// nil where other than verbs carry the bytes.
    var verbs: VerbsFigures?
    var perftest: PerftestFigures?
}

/// All pairs, for people and for programs.
struct LinkReport: Codable {
    let rankCount: Int
    /// Every port of every RDMA device of rank 0's node.
    let devices: [VerbsPort]
    var links: [LinkRow] = []

    init(rankCount: Int, devices: [VerbsPort]) {
        self.rankCount = rankCount
        self.devices = devices
    }

    mutating func append(_ encoded: [UInt8]) throws {
        links.append(try JSONDecoder().decode(LinkRow.self, from: Data(encoded)))
    }

    private var slowest: LinkRow? {
        links.min { $0.figures.bytesPerSecond < $1.figures.bytesPerSecond }
    }

    private var farthest: LinkRow? {
        links.max { $0.figures.latencyMicroseconds < $1.figures.latencyMicroseconds }
    }

    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    func text(matrix: Bool) -> String {
        var lines = devices.map { "RDMA device \($0)" }
        if devices.isEmpty { lines = ["no RDMA device on this node (ibv_get_device_list)"] }
        lines.append(
            "pair        path                8 B us   7 KB us      GB/s   perftest (same run)")
        for link in links {
            let figures = link.figures
            let pair = "\(figures.from)-\(figures.to)"
            var line = pair.padded(12) + figures.path.padded(18)
            line +=
                number(figures.latencyMicroseconds, 8)
                + number(figures.tokenLatencyMicroseconds, 10)
            line += number(figures.bytesPerSecond / 1e9, 10)
            if let peer = link.perftest { line += "   " + peer.text }
            lines.append(line)
            if let raw = link.verbs {
                lines.append(
                    "            raw verbs: write" + number(raw.writeMicroseconds, 0) + " us,"
                        + number(raw.writeBytesPerSecond / 1e9, 0) + " GB/s; read"
                        + number(raw.readMicroseconds, 0) + " us,"
                        + number(raw.readBytesPerSecond / 1e9, 0) + " GB/s")
            }
        }
        if matrix { lines += table("GB/s") { $0.bytesPerSecond / 1e9 } }
        if matrix { lines += table("8 B us") { $0.latencyMicroseconds } }
        if let slowest {
            lines.append(
                "slowest: \(slowest.figures.from)-\(slowest.figures.to) with"
                    + number(slowest.figures.bytesPerSecond / 1e9, 0) + " GB/s")
        }
        if let farthest {
            lines.append(
                "farthest: \(farthest.figures.from)-\(farthest.figures.to) with"
                    + number(farthest.figures.latencyMicroseconds, 0) + " us")
        }
        return lines.joined(separator: "\n")
    }

    private func table(_ title: String, _ value: (LinkFigures) -> Double) -> [String] {
        var lines = ["", title.padded(8) + (0 ..< rankCount).map { number($0) }.joined()]
        for row in 0 ..< rankCount {
            var line = "\(row)".padded(8)
            for column in 0 ..< rankCount {
                let link = links.first {
                    $0.figures.from == min(row, column) && $0.figures.to == max(row, column)
                }
                line += link.map { number(value($0.figures), 9) } ?? "        -"
            }
            lines.append(line)
        }
        return lines
    }

    private func number(_ value: Int) -> String { String(format: "%9d", value) }

    private func number(_ value: Double, _ width: Int) -> String {
        String(format: " %\(max(width - 1, 1)).3f", value)
    }
}

extension String {
    fileprivate func padded(_ width: Int) -> String {
        self + String(repeating: " ", count: max(1, width - count))
    }
}
