import Benchmarks
import Cluster
import Collectives
import Foundation
import Transport

/// What a reader must know to repeat a measurement.
enum BenchHeader {
    static func lines(_ result: AllToAllResult) -> [String] {
        let options = result.options
        let adds = options.configuration.addsBeforeReturn
        var lines = [
            "apus bench all-to-all, \(ProcessInfo.processInfo.operatingSystemVersionString), "
                + "\(ProcessInfo.processInfo.activeProcessorCount) cores",
            "path \(options.path.rawValue): \(way(options))",
            "\(options.mode.rawValue), \(result.ranks) ranks, \(options.tokenCount) tokens per rank"
                + ", hidden \(options.hiddenSize), top-\(options.topK) of \(options.expertCount)"
                + " experts, \(options.topGroups) of \(options.groupCount) groups",
            "routing \(options.pattern), dispatch \(options.dispatchCodec), combine "
                + "\(options.combineCodec)\(adds ? ", added before return" : ""), seed "
                + "\(options.seed), \(options.iterationCount) iterations after "
                + "\(options.warmUpCount)",
            devices(),
            "bytes count all ranks' traffic, that of a rank with itself too; 1 GB is 10^9 bytes",
            "times are the slowest rank's, from a barrier on",
            "inside a node a token is stored once, and every rank reads it where it lies",
            "window and staging at most \((result.windowBytes + 999_999) / 1_000_000) MB "
                + "per rank, resident growth while measuring "
                + "\(result.residentGrowthBytes / 1024) KiB; "
                + String(format: "records took %.3f%% of the time", result.recordingShare * 100),
        ]
        if result.compare != nil {
            lines.append(
                "a peer's time is its wire alone: the same bytes, encoded and packed beforehand, "
                    + "left packed and not added up")
        }
        for (rank, row) in result.transports.enumerated() {
            lines.append("rank \(rank) reaches: \(row.joined(separator: " "))")
        }
        return lines
    }

    /// What is timed.
    private static func way(_ options: AllToAllOptions) -> String {
        switch options.path {
        case .serving:
            "as a step of serving. dispatch: layout from the routing, f32 to "
                + "\(options.dispatchCodec), until all can be read; combine: from rows in "
                + "\(options.combineCodec) that experts wrote in place, one per token and expert, "
                + "added to f32 sums. Experts decode and encode: apus bench model times that"
        case .library:
            "the library's fastest. dispatch: layout from the routing, \(options.storedCodec) to "
                + "\(options.dispatchCodec), until all can be read; combine: from rows that "
                + "experts wrote in place to sums in \(options.storedCodec)"
        }
    }

    /// Versions, and what this node could send through.
    private static func devices() -> String {
        let networks = NetworkAddress.all().map { "\($0.device) \($0.address)" }
        let ports = VerbsDevices.ports().map { port in
            "\(port.device) port \(port.port)\(port.isActive ? "" : " (down)")"
        }
        return "UCX \(UCXLibrary.version); network \(networks.joined(separator: ", ")); RDMA "
            + (ports.isEmpty ? "none" : ports.joined(separator: ", "))
    }
}

/// One line on a terminal that is written over and over.
struct Progress {
    private let isShown: Bool

    init(isShown: Bool) { self.isShown = isShown && isatty(STDERR_FILENO) == 1 }

    func show(_ text: String) { write("\r\u{1b}[K\(text)") }
    func clear() { write("\r\u{1b}[K") }

    private func write(_ text: String) {
        if isShown { StandardStream.error.say(text) }
    }
}
