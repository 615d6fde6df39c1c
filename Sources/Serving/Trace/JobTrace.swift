import Foundation

/// What every rank of a job did for some seconds, on one clock: that of the process that asked.
public struct JobTrace: Sendable {
    /// One rank.
    struct Rank: Sendable {
        /// As the job numbers it.
        var rank: Int
        var events: [RankEvent] = []
        /// Events that there was no room for.
        var cut = 0
        /// When that began, on the rank's clock.
        var cutAt: UInt64?
        /// The rank's clock; nil for a rank that did not answer.
        var clock: ClockFit?
        /// Why the trace has nothing, or not all, of the rank.
        var problem: String?

        /// Until when all that it recorded is here, on the rank's clock; nil where all is.
        ///
        /// Where parts did not come, nothing is known of what followed the last whole step in them.
        var wholeUntil: UInt64? {
            guard problem != nil else { return cutAt }
            let step = events.last { $0.isWholeStep }
            // The step is within: a window ends before what is at its end.
            return min(cutAt ?? .max, (step?.ended ?? 0).addingReportingOverflow(1).partialValue)
        }
    }

    /// Seconds that were recorded.
    var seconds: Int
    /// When that began, in nanoseconds of our clock.
    var start: UInt64
    /// The same as people say it.
    var date: Date
    /// Every rank that was asked, in order.
    var ranks: [Rank]
    /// Nanoseconds that were recorded, where those are no whole seconds.
    var length: Int64?

    /// The window in nanoseconds from the start.
    var window: Range<Int64> { 0 ..< (length ?? Int64(seconds) * 1_000_000_000) }
}

/// Events of one rank in the window of a trace, in nanoseconds from its start.
struct PlacedEvents {
    private(set) var events: [(event: RankEvent, span: Range<Int64>)] = []
    /// The part of the trace's window of which all that the rank recorded is here; empty for a rank
    /// of which nothing is.
    let window: Range<Int64>

    /// Places what a rank recorded; what lies outside the window, as a forged time does, is left
    /// out.
    ///
    /// - Parameter end: Of the window, where it ends no earlier.
    init(_ rank: JobTrace.Rank, of trace: JobTrace, until end: Int64 = .max) {
        guard let clock = rank.clock else {
            window = 0 ..< 0
            return
        }
        let start = Int64(clamping: trace.start)
        let cut = rank.wholeUntil.map { max(0, clock.ours($0) &- start) } ?? .max
        window = 0 ..< min(trace.window.upperBound, cut, max(0, end))
        for event in rank.events {
            let began = clock.ours(event.began) &- start
            let ended = clock.ours(event.ended) &- start
            guard began <= ended, ended >= window.lowerBound, began <= window.upperBound else {
                continue
            }
            let span = began ..< ended
            events.append((event, span.clamped(to: window)))
        }
    }

    /// When the rank did something of a kind.
    func spans(_ kinds: RankEvent.Kind...) -> TimeSpans {
        TimeSpans(events.lazy.filter { kinds.contains($0.event.kind) }.map(\.span))
    }

    /// When the rank had no step under way.
    var idle: TimeSpans { TimeSpans([window]).without(spans(.step)) }

    /// When it computed what no other lane shows: attention, dense layers, the head.
    var compute: TimeSpans {
        spans(.step).without(spans(.wait, .exposed, .experts, .draft, .sampling))
    }
}
