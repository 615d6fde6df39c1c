import Synchronization

/// Counts of the HTTP API, and their text for Prometheus.
///
/// Names have the shape that dashboards for other servers know, under our own prefix. Labels are
/// few by design: rank, endpoint and status, never a layer or an expert.
final class ServiceMetrics: Sendable {
    /// Counts of durations in growing bounds.
    struct Histogram: Sendable {
        let bounds: [Double]
        private(set) var counts: [UInt64]
        private(set) var sum = 0.0

        init(_ bounds: [Double]) {
            self.bounds = bounds
            counts = Array(repeating: 0, count: bounds.count + 1)
        }

        mutating func add(_ value: Double) {
            counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
            sum += value
        }
    }

    private struct State {
        var answers: [String: UInt64] = [:]
        var finishes: [FinishReason: UInt64] = [:]
        var firstToken = Histogram([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60])
        var perToken = Histogram([
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
        ])
        var whole = Histogram([0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600])
        var lastStep: ContinuousClock.Instant?
    }

    private let state = Mutex(State())

    func answered(_ endpoint: String, status: Int) {
        let key = "endpoint=\"\(endpoint)\",status=\"\(status)\""
        state.withLock { $0.answers[key, default: 0] += 1 }
    }

    func firstToken(after duration: Duration) {
        state.withLock { $0.firstToken.add(duration.seconds) }
    }

    func tokens(_ count: Int, after duration: Duration) {
        state.withLock { state in
            for _ in 0 ..< count { state.perToken.add(duration.seconds / Double(count)) }
        }
    }

    func finished(_ reason: FinishReason, after duration: Duration) {
        state.withLock {
            $0.finishes[reason, default: 0] += 1
            $0.whole.add(duration.seconds)
        }
    }

    /// Notes that an engine's step brought something just now.
    func stepSeen() { state.withLock { $0.lastStep = .now } }

    /// How long ago that was.
    var sinceStep: Duration? { state.withLock { $0.lastStep?.duration(to: .now) } }

    /// What is open and held at one moment.
    struct Now {
        var connections: Int
        var rejections: (refused: UInt64, closedEarly: UInt64)
        var generations: Int
        var bodyBytes: Int
        var lostRanks: Int
        var drainedRanks: Int
        /// Which ranks prefill and which decode; nil where all do the same.
        var roles: RankRoles?
        /// Whether steps can be made.
        var serves: Bool
        /// Until the certificate ends to hold, negative after it; nil without one.
        var certificateSeconds: Double?
        var keys: [(name: String, counts: KeyUsage.Counts)]
    }

    /// Everything, in Prometheus' text format 0.0.4.
    func text(_ engines: [EngineStatistics], now: Now) -> String {
        var text = PrometheusText()
        let state = state.withLock { $0 }
        text.add(
            "http_requests_total", "counter", "Answers by endpoint and status.",
            state.answers.sorted { $0.key < $1.key }.map { ($0.key, Double($0.value)) })
        text.add(
            "request_success_total", "counter", "Texts by the reason they ended.",
            state.finishes.sorted { $0.key.rawValue < $1.key.rawValue }.map {
                ("finished_reason=\"\($0.key.rawValue)\"", Double($0.value))
            })
        text.add("http_connections", "gauge", "Open connections.", [("", Double(now.connections))])
        text.add(
            "http_connections_refused_total", "counter", "Connections answered with 503.",
            [("", Double(now.rejections.refused))])
        text.add(
            "http_connections_closed_early_total", "counter", "Idle ones closed for new ones.",
            [("", Double(now.rejections.closedEarly))])
        text.add("http_body_bytes", "gauge", "Request bodies held.", [("", Double(now.bodyBytes))])
        text.add("ranks_lost", "gauge", "Ranks that others replace.", [("", Double(now.lostRanks))])
        text.add(
            "ranks_drained", "gauge", "Ranks that left on purpose.",
            [("", Double(now.drainedRanks))])
        text.add(
            "serving", "gauge", "1 while steps can be made, 0 while the job recovers.",
            [("", now.serves ? 1 : 0)])
        text.add(
            "certificate_expires_seconds", "gauge", "Until the certificate ends to hold.",
            now.certificateSeconds.map { [("", $0)] } ?? [])
        text.add("generations", "gauge", "Texts under way.", [("", Double(now.generations))])
        text.add("time_to_first_token_seconds", "Until a text's first token.", state.firstToken)
        text.add("time_per_output_token_seconds", "Between tokens of a text.", state.perToken)
        text.add("e2e_request_latency_seconds", "From request to last token.", state.whole)
        if !now.keys.isEmpty { add(now.keys, to: &text) }
        add(engines, to: &text)
        addBalances(engines, to: &text)
        if engines.contains(where: { $0.handovers != nil }) { addHandovers(engines, to: &text) }
        if let roles = now.roles { add(roles, to: &text) }
        return text.text
    }

    /// Three series for each key, whose number the key file limits.
    private func add(
        _ keys: [(name: String, counts: KeyUsage.Counts)], to text: inout PrometheusText
    ) {
        func samples(_ count: (KeyUsage.Counts) -> UInt64) -> [(labels: String, value: Double)] {
            keys.map { ("key=\"\($0.name)\"", Double(count($0.counts))) }
        }
        text.add(
            "key_requests_total", "counter", "Requests by the name of their key.",
            samples(\.requests))
        text.add(
            "key_refusals_total", "counter", "Requests that the limits of a key refused.",
            samples(\.refusals))
        text.add(
            "key_tokens_total", "counter", "Tokens of prompts and answers by key.",
            samples(\.tokens))
    }

    /// Series that are there where prefixes are kept in files.
    private func addFiles(
        _ ranks: [(rank: Int, counts: PrefixCounts)], to text: inout PrometheusText
    ) {
        guard !ranks.isEmpty else { return }
        func each(
            _ name: String, _ kind: String, _ help: String, _ value: (PrefixCounts) -> Double
        ) {
            text.add(name, kind, help, ranks.map { ("rank=\"\($0.rank)\"", value($0.counts)) })
        }
        each("prefix_files_restored_tokens_total", "counter", "Prompt tokens read from files.") {
            Double($0.restoredTokens)
        }
        each("prefix_files_written_bytes_total", "counter", "Bytes of blocks written to files.") {
            Double($0.writtenBytes)
        }
        each("prefix_files_dropped_total", "counter", "Blocks that the disk did not take.") {
            Double($0.dropped)
        }
        each("prefix_files_damaged_total", "counter", "Files of blocks that were not whole.") {
            Double($0.damaged)
        }
        each("prefix_files_bytes", "gauge", "Bytes of the folder as this rank last counted.") {
            Double($0.folderBytes)
        }
    }

    /// Of ranks that compute prompts for each other.
    private func addHandovers(_ engines: [EngineStatistics], to text: inout PrometheusText) {
        let totals = engines.compactMap { engine in engine.handovers.map { (engine.rank, $0) } }
        func samples(_ value: (HandoverTotals) -> Double) -> [(labels: String, value: Double)] {
            totals.map { ("rank=\"\($0)\"", value($1)) }
        }
        text.add(
            "handover_prompts_sent_total", "counter", "Prompts computed for other ranks.",
            samples { Double($0.promptsSent) })
        text.add(
            "handover_bytes_sent_total", "counter", "Bytes of their cache entries.",
            samples { Double($0.bytesSent) })
        text.add(
            "handover_prompts_received_total", "counter", "Prompts that other ranks computed.",
            samples { Double($0.promptsReceived) })
        text.add(
            "handover_seconds_total", "counter", "From reserved blocks to their last entry.",
            samples(\.seconds))
        text.add(
            "handover_failures_total", "counter", "Hand-overs that failed or came too late.",
            samples { Double($0.failures) })
        text.add(
            "handover_links", "gauge", "Linked ranks of the other role.",
            samples { Double($0.links) })
    }

    private func add(_ roles: RankRoles, to text: inout PrometheusText) {
        func samples(_ ranks: [Int], _ role: String) -> [(labels: String, value: Double)] {
            ranks.map { ("rank=\"\($0)\",role=\"\(role)\"", 1) }
        }
        text.add(
            "rank_role", "gauge", "1 for the role that a rank has now.",
            samples(roles.prefill, "prefill") + samples(roles.decode, "decode"))
        text.add(
            "role_changes_total", "counter", "Times that a group of ranks got the other role.",
            [("", Double(roles.changes))])
    }

    private func addBalances(_ engines: [EngineStatistics], to text: inout PrometheusText) {
        let counted = engines.compactMap { engine in engine.expertBalance.map { (engine.rank, $0) }
        }
        text.add(
            "expert_load_ratio", "gauge", "Tokens for a rank's experts over the mean rank's.",
            counted.map { ("rank=\"\($0)\"", $1.ratio) })
        text.add(
            "expert_imbalance", "gauge", "The busiest rank's tokens over the mean rank's.",
            counted.map { ("rank=\"\($0)\"", $1.imbalance) })
    }

    private func add(_ engines: [EngineStatistics], to text: inout PrometheusText) {
        func each(
            _ name: String, _ kind: String, _ help: String,
            _ value: (EngineStatistics) -> Double
        ) {
            text.add(name, kind, help, engines.map { ("rank=\"\($0.rank)\"", value($0)) })
        }
        each("num_requests_running", "gauge", "Requests in the batch.") { Double($0.running) }
        each("num_requests_waiting", "gauge", "Requests that wait.") { Double($0.waiting) }
        each("kv_cache_usage_perc", "gauge", "Latent blocks held by requests, 0 to 1.") {
            $0.blockCount == 0 ? 0 : Double($0.blocksInUse) / Double($0.blockCount)
        }
        each("prefix_cache_blocks", "gauge", "Latent blocks that hold only prefixes.") {
            Double($0.blocksCached)
        }
        each("prefix_cache_queries_total", "counter", "Prompt tokens looked up.") {
            Double($0.prefixQueries)
        }
        each("prefix_cache_hits_total", "counter", "Prompt tokens found.") { Double($0.prefixHits) }
        addFiles(
            engines.compactMap { engine in engine.prefixFiles.map { (engine.rank, $0) } }, to: &text
        )
        each("prompt_tokens_total", "counter", "Prompt tokens computed.") {
            Double($0.promptTokens)
        }
        each("generation_tokens_total", "counter", "Tokens generated.") {
            Double($0.generatedTokens)
        }
        each("spec_decode_num_draft_tokens_total", "counter", "Tokens that MTP drafted.") {
            Double($0.draftedTokens)
        }
        each("spec_decode_num_accepted_tokens_total", "counter", "Drafts accepted.") {
            Double($0.acceptedTokens)
        }
        each("num_preemptions_total", "counter", "Requests set back for want of blocks.") {
            Double($0.preemptions)
        }
        each("steps_total", "counter", "Steps performed.") { Double($0.steps) }
        each("step_seconds_total", "counter", "Time in steps.") { $0.time.total }
        each("step_wait_seconds_total", "counter", "Waiting for all ranks to begin a step.") {
            $0.time.stepWait
        }
        each("dispatch_seconds_total", "counter", "From dispatch to arrival.") { $0.time.dispatch }
        each("combine_seconds_total", "counter", "From combine to arrival.") { $0.time.combine }
        each("all_to_all_seconds_total", "counter", "While tokens or outputs travelled.") {
            $0.time.travel
        }
        each("expert_compute_seconds_total", "counter", "Computing routed experts.") {
            $0.time.expertCompute
        }
        each("all_to_all_skew_seconds_total", "counter", "Waiting for ranks to begin.") {
            $0.time.skew
        }
        each("all_to_all_exposed_seconds_total", "counter", "All-to-all that nothing hid.") {
            $0.time.exposed
        }
        addSent(engines, to: &text)
    }

    private func addSent(_ engines: [EngineStatistics], to text: inout PrometheusText) {
        text.add(
            "sent_inside_node_bytes_total", "counter", "Tokens and rows to ranks of its node.",
            engines.map { ("rank=\"\($0.rank)\"", Double($0.sent.insideNode)) })
        text.add(
            "sent_across_nodes_bytes_total", "counter", "Tokens and rows to other nodes.",
            engines.map { ("rank=\"\($0.rank)\"", Double($0.sent.acrossNodes)) })
    }
}

/// Lines of Prometheus' text format.
public struct PrometheusText {
    private(set) var text = ""

    public static let prefix = "apus:"

    mutating func add(
        _ name: String, _ kind: String, _ help: String, _ samples: [(labels: String, value: Double)]
    ) {
        text += "# HELP \(Self.prefix)\(name) \(help)\n# TYPE \(Self.prefix)\(name) \(kind)\n"
        for sample in samples {
            let labels = sample.labels.isEmpty ? "" : "{\(sample.labels)}"
            text += "\(Self.prefix)\(name)\(labels) \(sample.value)\n"
        }
    }

    mutating func add(_ name: String, _ help: String, _ histogram: ServiceMetrics.Histogram) {
        let full = Self.prefix + name
        text += "# HELP \(full) \(help)\n# TYPE \(full) histogram\n"
        var total: UInt64 = 0
        for (bound, count) in zip(histogram.bounds.map { "\($0)" } + ["+Inf"], histogram.counts) {
            total += count
            text += "\(full)_bucket{le=\"\(bound)\"} \(total)\n"
        }
        text += "\(full)_sum \(histogram.sum)\n\(full)_count \(total)\n"
    }
}
