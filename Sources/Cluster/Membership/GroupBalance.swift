public import Topology

/// How evenly the tokens of a group lie on its ranks.
public struct GroupBalance: Hashable, Sendable {
    /// The ranks of the group.
    public let ranks: [Rank]
    /// Tokens of each over the mean of all, layers together; 1 where nothing was counted.
    public let ratios: [Double]
    /// Max over mean, as `Rebalancing.imbalance` says.
    public let imbalance: Double
}

extension Membership {
    /// The balance of every group, with the copies where they are while all ranks live.
    func balances() -> [GroupBalance] {
        loads.indices.map { group in
            let placements = placements(ofGroup: group)
            let tokens = loads[group].tokens
            let sums = Rebalancing.rankLoads(of: placements, loads: tokens)
            let mean = sums.reduce(0, +) / Double(max(1, sums.count))
            return GroupBalance(
                ranks: ranks(ofGroup: group), ratios: sums.map { mean > 0 ? $0 / mean : 1 },
                imbalance: Rebalancing.imbalance(of: placements, loads: tokens))
        }
    }
}
