public import Topology

/// How evenly the tokens of a group lie on its ranks.
public struct GroupBalance: Hashable, Sendable {
    /// The ranks of the group, the lost ones included.
    public let ranks: [Rank]
    /// Tokens of each over the mean of those that live, layers together; 1 where nothing was
    /// counted, 0 of a rank that is lost.
    public let ratios: [Double]
    /// Max over mean, as `Rebalancing.imbalance` says.
    public let imbalance: Double
    /// The group's name.
    public let name: String
    /// The ranks that live.
    public let living: [Rank]
    /// One per layer, of those that live; their order is that of `living`.
    public let placements: [ExpertPlacement]
    /// `[layers][experts]`, tokens; older ones count less.
    public let loads: [[Double]]
    /// Copies of a layer that those that live have room for, and what they hold beyond.
    public let slots: [Int]
    /// Where those that live are.
    public let nodes: NodePacking
    /// The names of their nodes.
    public let nodeNames: [String]
}

extension Membership {
    /// The balance of every group, over the ranks that live.
    func balances() -> [GroupBalance] {
        loads.indices.map { group in
            let all = ranks(ofGroup: group)
            let present = livingPlacements(ofGroup: group)
            let placements = present?.placements ?? placements(ofGroup: group)
            let tokens = loads[group].tokens
            let sums = Rebalancing.rankLoads(of: placements, loads: tokens)
            let mean = sums.reduce(0, +) / Double(max(1, sums.count))
            var ratios = [Double](repeating: 0, count: all.count)
            for (rank, sum) in zip(present?.living ?? [], sums) {
                ratios[rank.rawValue] = mean > 0 ? sum / mean : 1
            }
            let living = (present?.living ?? []).map { all[$0.rawValue] }
            return GroupBalance(
                ranks: all, ratios: ratios,
                imbalance: Rebalancing.imbalance(of: placements, loads: tokens),
                name: configuration.groups?.groups[group].name ?? "",
                living: living,
                placements: present?.placements ?? [], loads: tokens,
                slots: present?.slots ?? [],
                nodes: nodes(of: living),
                nodeNames: living.map { members[$0.rawValue].node })
        }
    }
}
