public import Topology

/// Which ranks of a group take part from a moment on.
public struct JobEpoch: Hashable, Codable, Sendable {
    /// Counts the epochs of all groups of a job; it only grows.
    public var number: UInt64
    /// The ranks that take part, in order, numbered as in the job.
    public var living: [Rank]
    /// Where the experts of each layer are when all ranks of the group live; nil where they were at
    /// the start.
    public var placements: [ExpertPlacement]?

    /// States an epoch.
    public init(number: UInt64, living: [Rank], placements: [ExpertPlacement]? = nil) {
        self.placements = placements
        self.number = number
        self.living = living
    }

    /// The epoch in which a job begins: all of its ranks take part.
    static func first(_ number: UInt64, rankCount: Int) -> JobEpoch {
        JobEpoch(number: number, living: (0 ..< rankCount).map { Rank(rawValue: $0) })
    }
}
