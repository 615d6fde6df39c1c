import Foundation

/// Where the time of every rank went during a trace.
package struct TraceSummary: Codable, Hashable, Sendable {
    /// One rank. Shares are parts of its traced seconds; what travels may be hidden behind
    /// computation, so shares add up to more than 1.
    package struct Rank: Codable, Hashable, Sendable {
        /// As the job numbers it.
        package var rank: Int
        /// Seconds of which all is known: fewer than the trace's where events were cut, or parts
        /// of the record did not come.
        package var tracedSeconds = 0.0
        /// Steps that ended.
        package var steps = 0
        /// Tokens that it generated per second.
        package var tokensPerSecond = 0.0
        /// Attention, dense layers and the head.
        package var computeShare = 0.0
        /// Its routed experts.
        package var expertShare = 0.0
        /// At least one dispatch was under way.
        package var dispatchShare = 0.0
        /// At least one combine was under way.
        package var combineShare = 0.0
        /// It stood still for a dispatch or a combine.
        package var exposedShare = 0.0
        /// Other ranks had not begun the step.
        package var waitShare = 0.0
        /// The MTP block.
        package var draftShare = 0.0
        /// The choice of tokens.
        package var samplingShare = 0.0
        /// No step was under way.
        package var idleShare = 0.0
        /// The most by which its times may be wrong beside other ranks' times.
        package var clockErrorMicroseconds = 0.0
        /// Events in the trace.
        package var events = 0
        /// Events that there was no room for.
        package var cutEvents = 0
        /// Why the trace has nothing, or not all, of the rank.
        package var problem: String?

        /// What it computed itself, by which a rank makes others wait.
        package var busyShare: Double { computeShare + expertShare + draftShare + samplingShare }
    }

    /// Seconds that were traced.
    package var seconds: Int
    /// When that began.
    package var began: String
    /// Events that a rank had room for.
    package var eventLimit: Int
    /// Every rank, in order.
    package var ranks: [Rank]
    /// The rank that computed most, for which the others waited; nil where none made a step.
    package var slowest: Int?

    init(_ trace: JobTrace) {
        seconds = trace.seconds
        began = trace.date.formatted(.iso8601)
        eventLimit = TraceCollector.limit(ranks: trace.ranks.count)
        let (placed, whole) = (
            trace.ranks.map { PlacedEvents($0, of: trace) }, trace.window.upperBound
        )
        ranks = zip(trace.ranks, placed).map { Self.rank($0, $1) }
        // Ranks are compared over what is known of all of them; of some, nothing is.
        let shortest = placed.map(\.window.upperBound).filter { $0 > 0 }.min() ?? whole
        let compared =
            shortest == whole
            ? ranks
            : trace.ranks.map { Self.rank($0, PlacedEvents($0, of: trace, until: shortest)) }
        slowest = compared.filter { $0.steps > 0 }.max { $0.busyShare < $1.busyShare }?.rank
    }

    private static func rank(_ rank: JobTrace.Rank, _ placed: PlacedEvents) -> Rank {
        var summary = Rank(rank: rank.rank)
        summary.problem = rank.problem
        summary.cutEvents = rank.cut
        guard let clock = rank.clock else { return summary }
        let end = placed.window.upperBound
        let whole = Double(max(1, end))
        summary.tracedSeconds = Double(end) * 1e-9
        func share(_ spans: TimeSpans) -> Double { Double(spans.total) / whole }
        let steps = placed.events.filter { $0.event.isWholeStep && $0.span.upperBound < end }
        summary.steps = steps.count
        let tokens = steps.reduce(0) { $0 + Double($1.event.number) }
        summary.tokensPerSecond = tokens / whole * 1e9
        summary.computeShare = share(placed.compute)
        summary.expertShare = share(placed.spans(.experts))
        summary.dispatchShare = share(placed.spans(.dispatch))
        summary.combineShare = share(placed.spans(.combine))
        summary.exposedShare = share(placed.spans(.exposed))
        summary.waitShare = share(placed.spans(.wait))
        summary.draftShare = share(placed.spans(.draft))
        summary.samplingShare = share(placed.spans(.sampling))
        summary.idleShare = share(placed.idle)
        summary.clockErrorMicroseconds = Double(clock.bound) / 1000
        summary.events = placed.events.count
        return summary
    }

    // MARK: Words

    /// A table of the ranks, and what is to be known of them, line by line.
    package var lines: [String] {
        let heads = [
            "rank", "steps", "tokens/s", "compute", "experts", "dispatch", "combine", "exposed",
            "waiting", "draft", "sampling", "idle", "clock error",
        ]
        let rows = ranks.map { rank in
            guard rank.problem == nil || rank.tracedSeconds > 0 else {
                return ["\(rank.rank)"] + heads.dropFirst().map { _ in "-" }
            }
            let shares = [
                rank.computeShare, rank.expertShare, rank.dispatchShare, rank.combineShare,
                rank.exposedShare, rank.waitShare, rank.draftShare, rank.samplingShare,
                rank.idleShare,
            ]
            return ["\(rank.rank)", "\(rank.steps)", Self.text(rank.tokensPerSecond)]
                + shares.map { Self.text($0 * 100) + "%" }
                + ["\(Self.text(rank.clockErrorMicroseconds)) us"]
        }
        let widths = heads.indices.map { column in
            max(heads[column].count, rows.map { $0[column].count }.max() ?? 0)
        }
        var lines = ([heads] + rows).map { row in
            zip(row, widths).map { String(repeating: " ", count: $1 - $0.count) + $0 }
                .joined(separator: "  ")
        }
        if let slowest, ranks.count > 1 {
            lines.append("rank \(slowest) computed most: the others waited for it")
        }
        for rank in ranks {
            if let problem = rank.problem {
                let part = "; its times are of the first \(Self.text(rank.tracedSeconds)) s"
                lines.append(
                    "rank \(rank.rank): \(problem)" + (rank.tracedSeconds > 0 ? part : ""))
            }
            if rank.cutEvents > 0 {
                lines.append(
                    "rank \(rank.rank): \(rank.cutEvents) events were cut after the first"
                        + " \(eventLimit), so its times are of the first"
                        + " \(Self.text(rank.tracedSeconds)) s: trace fewer seconds")
            }
        }
        return lines
    }

    private static func text(_ value: Double) -> String { String(format: "%.1f", value) }
}
