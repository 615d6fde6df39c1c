public import Topology

/// Which ranks of a job are away on purpose, for another coordinator to know why.
public struct DrainedRanks: Hashable, Codable, Sendable {
    /// The highest number of an epoch when it was said: of two lists the one with more is newer.
    var number: UInt64
    /// The ranks, in order.
    var ranks: [Rank]

    /// States which ranks are away.
    public init(number: UInt64, ranks: [Rank]) {
        self.number = number
        self.ranks = ranks
    }
}
