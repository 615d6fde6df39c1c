import NIOCore
import NIOHTTP1
import NIOPosix
import Serving

/// Where the time of a server's ranks went, read from its metrics.
struct ServerSteps: Sendable {
    /// Counters by name without prefix, one value per rank.
    private var counters: [String: [Double]] = [:]

    /// Reads the counters of a server; all are missing if it is not one of ours.
    static func read(
        from address: HTTPConnection.Address, headers: [(String, String)] = []
    ) async throws -> ServerSteps {
        var bytes: [UInt8] = []
        try await HTTPConnection.send(
            .GET, "/metrics", body: nil, headers: headers, to: address,
            on: MultiThreadedEventLoopGroup.singleton
        ) { if case .body(let part) = $0 { bytes += part.readableBytesView } }
        return ServerSteps(metrics: String(decoding: bytes, as: UTF8.self))
    }

    /// Takes the counters of ranks from Prometheus' text.
    init(metrics: String) {
        for line in metrics.split(separator: "\n") where line.hasPrefix(PrometheusText.prefix) {
            let parts = line.dropFirst(PrometheusText.prefix.count).split(separator: " ")
            guard parts.count == 2, let value = Double(parts[1]),
                let brace = parts[0].firstIndex(of: "{"),
                parts[0][brace...].hasPrefix("{rank=")
            else { continue }
            counters[String(parts[0][..<brace]), default: []].append(value)
        }
    }

    /// What happened after an earlier reading.
    func since(_ earlier: ServerSteps) -> ServerSteps {
        var difference = self
        for (name, values) in counters {
            guard let before = earlier.counters[name], before.count == values.count else {
                continue
            }
            difference.counters[name] = zip(values, before).map { $0 - $1 }
        }
        return difference
    }

    func sum(_ name: String) -> Double { counters[name, default: []].reduce(0, +) }

    /// The mean over ranks.
    private func mean(_ name: String) -> Double {
        let values = counters[name, default: []]
        return values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
    }

    /// Steps, which all ranks perform together.
    var steps: Double { counters["steps_total", default: []].max() ?? 0 }

    /// Time in steps, of the rank that spent most.
    var seconds: Double { counters["step_seconds_total", default: []].max() ?? 0 }

    /// Time in which tokens or outputs travelled over time in steps, hidden time included.
    var allToAllShare: Double {
        let total = sum("step_seconds_total")
        return total > 0 ? sum("all_to_all_seconds_total") / total : 0
    }

    /// The part of all-to-all that computation hid, 0 to 1.
    var hiddenShare: Double {
        let allToAll = sum("all_to_all_seconds_total")
        return allToAll > 0 ? max(0, 1 - sum("all_to_all_exposed_seconds_total") / allToAll) : 0
    }

    /// The part of MTP drafts that were accepted, nil without drafts.
    var acceptance: Double? {
        let drafted = sum("spec_decode_num_draft_tokens_total")
        return drafted > 0 ? sum("spec_decode_num_accepted_tokens_total") / drafted : nil
    }

    /// Times of one step as a rank sees it on average: JSON name, title and milliseconds.
    ///
    /// Expert compute, waiting and sampling are times of the rank's thread; a dispatch or combine
    /// lasts from its start to its last byte, whatever the thread did meanwhile.
    func times(wallSeconds: Double) -> [(name: String, title: String, milliseconds: Double)] {
        guard steps > 0 else { return [] }
        func each(_ seconds: Double) -> Double { seconds / steps * 1000 }
        let rows: [(String, String, Double)] = [
            ("step", "Mean step (ms):", mean("step_seconds_total")),
            ("experts", "Expert compute (ms):", mean("expert_compute_seconds_total")),
            ("dispatch", "Dispatch under way (ms):", mean("dispatch_seconds_total")),
            ("combine", "Combine under way (ms):", mean("combine_seconds_total")),
            ("all_to_all", "Either under way (ms):", mean("all_to_all_seconds_total")),
            ("exposed", "Of that, not hidden (ms):", mean("all_to_all_exposed_seconds_total")),
            ("skew", "Of these, a rank was late:", mean("all_to_all_skew_seconds_total")),
            ("wait", "Wait for ranks to begin (ms):", mean("step_wait_seconds_total")),
            ("outside", "Outside steps, HTTP too (ms):", max(0, wallSeconds - seconds)),
        ]
        return rows.map { ($0.0, $0.1, each($0.2)) }
    }
}
