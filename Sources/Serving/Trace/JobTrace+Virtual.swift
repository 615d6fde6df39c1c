import Foundation
package import Topology

/// Traces of virtual time, in which all ranks have one clock.
extension JobTrace {
    /// What a rank did for a time.
    package struct Span: Sendable {
        /// What it did.
        package enum Kind: Sendable {
            /// It computed.
            case compute
            /// Tokens, or the outputs of experts, travelled, and it waited for them.
            case dispatch, combine
        }

        let rank: Topology.Rank
        let kind: Kind
        let nanoseconds: Range<UInt64>
        let tokens: Int
        let awaited: Topology.Rank?

        /// - Parameters:
        ///   - nanoseconds: Of the virtual clock.
        ///   - tokens: Of the rank.
        ///   - awaited: The rank whose bytes ended the last wait.
        package init(
            rank: Topology.Rank, kind: Kind, nanoseconds: Range<UInt64>, tokens: Int,
            awaited: Topology.Rank? = nil
        ) {
            self.tokens = tokens
            self.rank = rank
            self.kind = kind
            self.nanoseconds = nanoseconds
            self.awaited = awaited
        }
    }

    /// One step of every rank, from what each did in it. Between that it waited for other ranks.
    package init(rankCount: Int, spans: [Span]) {
        var events = [[RankEvent]](repeating: [], count: rankCount)
        for span in spans {
            let (began, ended) = (span.nanoseconds.lowerBound, span.nanoseconds.upperBound)
            func event(_ kind: RankEvent.Kind) -> RankEvent {
                RankEvent(
                    kind: kind, began: began, ended: ended, step: 1, number: 1,
                    peer: span.awaited?.rawValue, rows: span.tokens)
            }
            switch span.kind {
            case .compute: break
            case .dispatch: events[span.rank.rawValue] += [event(.dispatch), event(.exposed)]
            case .combine: events[span.rank.rawValue] += [event(.combine), event(.exposed)]
            }
        }
        for (rank, own) in Dictionary(grouping: spans, by: \.rank).sorted(by: { $0.key < $1.key }) {
            let spans = own.map(\.nanoseconds).sorted { $0.lowerBound < $1.lowerBound }
            var end = spans[0].lowerBound
            for span in spans {
                if span.lowerBound > end {
                    events[rank.rawValue].append(
                        RankEvent(kind: .wait, began: end, ended: span.lowerBound, step: 1))
                }
                end = max(end, span.upperBound)
            }
            events[rank.rawValue].append(
                RankEvent(
                    kind: .step, began: spans[0].lowerBound, ended: end, step: 1,
                    rows: own[0].tokens, parts: 1))
        }
        self.init(virtual: events)
    }

    /// What recorders of one clock hold, rank by rank. It is taken away from them.
    package init(recorders: [RankRecorder]) { self.init(virtual: recorders.map(\.takenRecord)) }

    private init(virtual events: [[RankEvent]]) {
        let start = events.joined().map(\.began).min() ?? 0
        let end = events.joined().map(\.ended).max() ?? start
        let reading = ClockReading(sent: start, received: start, theirs: start)
        let exact = ClockFit(first: reading, last: reading)
        let length = end - start
        self.init(
            seconds: Int((length + 999_999_999) / 1_000_000_000), start: start,
            // Virtual time begins with the epoch: a trace is the same on every day.
            date: Date(timeIntervalSince1970: 0),
            ranks: events.enumerated().map { Rank(rank: $0, events: $1, clock: exact) },
            length: Int64(length))
    }
}
