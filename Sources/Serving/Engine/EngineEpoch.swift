public import Topology

/// What an engine's steps need of one epoch of its group.
public struct EngineEpoch: Sendable {
    /// Lets the ranks of the epoch perform the same steps.
    let barrier: StepBarrier
    /// Where the experts are, and which ranks take part in a step.
    let map: ExpertMap
}

/// Which ranks of a group take part in an epoch.
public struct GroupEpoch: Hashable, Sendable {
    /// Counts the epochs of the job.
    public var number: UInt64
    /// Ranks of the group when all live.
    public var rankCount: Int
    /// Those that live, in order, numbered as in the group.
    public var living: [Rank]
    /// Where the experts of each layer are when all ranks live; nil where they were at the start.
    public var placements: [ExpertPlacement]?

    /// States an epoch.
    public init(
        number: UInt64, rankCount: Int, living: [Rank], placements: [ExpertPlacement]? = nil
    ) {
        self.placements = placements
        self.number = number
        self.rankCount = rankCount
        self.living = living
    }

    /// The epoch in which a group begins: all live.
    public static func first(rankCount: Int) -> GroupEpoch {
        GroupEpoch(
            number: ExpertMap.firstEpoch, rankCount: rankCount,
            living: (0 ..< rankCount).map { Rank(rawValue: $0) })
    }
}
