public import Topology

/// One piece of work of one rank, with its time.
public struct TimelineEntry: Codable, Sendable {
    /// What keeps the rank busy.
    public enum Lane: String, Codable, Sendable {
        /// Cores.
        case compute
        /// Wires.
        case communication
    }

    /// What is drawn in which colour.
    public enum Kind: String, Codable, Sendable {
        /// A forward.
        case forward
        /// A full backward.
        case backward
        /// Input gradients.
        case backwardInput
        /// Weight gradients.
        case backwardWeight
        /// A forward and a backward as one.
        case overlapped
        /// Bytes on their way from rank to rank, or an all-to-all.
        case transfer
        /// The part of a transfer that no computation hid.
        case exposed
    }

    /// Whose work.
    public let rank: Rank
    /// Cores or wires.
    public let lane: Lane
    /// What it was.
    public let kind: Kind
    /// As the picture names it; a pair has two lines of text separated by `&`.
    public let label: String
    /// When it began, in the timeline's unit.
    public let start: Double
    /// When it ended.
    public let end: Double
    /// Drawn in the darker tone of its colour.
    public let isSecondDirection: Bool

    /// Describes one piece of work.
    public init(
        rank: Rank, lane: Lane, kind: Kind, label: String, start: Double, end: Double,
        isSecondDirection: Bool = false
    ) {
        self.rank = rank
        self.lane = lane
        self.kind = kind
        self.label = label
        self.start = start
        self.end = end
        self.isSecondDirection = isSecondDirection
    }

    /// Describes a compute step of a schedule.
    public init(
        rank: Rank, step: Step, start: Double, end: Double, isSecondDirection: Bool
    ) {
        let kind: Kind =
            switch step {
            case .forward: .forward
            case .backward: .backward
            case .backwardInput: .backwardInput
            case .backwardWeight: .backwardWeight
            case .overlapped: .overlapped
            case .send, .receive: .transfer
            }
        self.init(
            rank: rank, lane: step.isCompute ? .compute : .communication, kind: kind,
            label: "\(step)", start: start, end: end, isSecondDirection: isSecondDirection)
    }
}

/// What every rank did when: planned by the simulation or measured by the executor.
public struct Timeline: Codable, Sendable {
    /// Above the picture.
    public let title: String
    /// Rows of the picture.
    public let rankCount: Int
    /// Everything that took time, in any order.
    public let entries: [TimelineEntry]

    /// Gathers what was planned or measured.
    public init(title: String, rankCount: Int, entries: [TimelineEntry]) {
        self.title = title
        self.rankCount = rankCount
        self.entries = entries
    }

    /// The same work on another time axis, as to set seconds beside a plan's units.
    public func scaled(by factor: Double, title: String) -> Timeline {
        Timeline(
            title: title, rankCount: rankCount,
            entries: entries.map { entry in
                TimelineEntry(
                    rank: entry.rank, lane: entry.lane, kind: entry.kind, label: entry.label,
                    start: entry.start * factor, end: entry.end * factor,
                    isSecondDirection: entry.isSecondDirection)
            })
    }

    /// When the last piece of work ended.
    public var end: Double { entries.map(\.end).max() ?? 0 }

    /// Per rank, the time from the first start of any rank to the last end in which it computes
    /// nothing.
    public var bubbles: [Double] {
        let compute = entries.filter { $0.lane == .compute }
        let start = compute.map(\.start).min() ?? 0
        let end = compute.map(\.end).max() ?? 0
        return (0 ..< rankCount).map { rank in
            let busy = compute.filter { $0.rank.rawValue == rank }
                .reduce(0) { $0 + $1.end - $1.start }
            return end - start - busy
        }
    }
}
