/// Chooses how many copies of each expert to load, and where, from how much each was used.
///
/// The hierarchical policy of EPLB: expert groups are packed onto nodes so that a token's groups
/// stay together, busy experts are copied inside their node, and copies are packed onto ranks. The
/// global policy is the same with one group and one node. Ties, which the published code leaves to
/// an unstable sort, go to the lowest number here: the result is a function of its arguments.
///
/// Source: EPLB, `rebalance_experts`; DeepSeek-V3 report, §3.4.1.
package struct ExpertBalancing: Sendable {
    /// Copies over all ranks; a multiple of `rankCount`, at least the number of experts.
    package var physicalExpertCount: Int
    /// Expert groups of the gate (`n_group`).
    public var groupCount: Int
    /// Machines the ranks live on, equally many on each.
    public var nodeCount: Int
    /// Ranks that share the experts.
    public var rankCount: Int

    /// Describes the ground a placement is computed for.
    public init(physicalExpertCount: Int, groupCount: Int, nodeCount: Int, rankCount: Int) {
        self.physicalExpertCount = physicalExpertCount
        self.groupCount = groupCount
        self.nodeCount = nodeCount
        self.rankCount = rankCount
    }

    /// The placement of one layer.
    ///
    /// - Parameter loads: Tokens (or any measure of use) per logical expert, >= 0 and finite.
    /// - Throws: `TopologyError.balancing` when the counts do not divide or a load is no number.
    public func placement(loads: [Double]) throws -> ExpertPlacement {
        let counts = try checked(loads)
        let experts = physicalOrder(loads: loads, counts: counts)
        let share = physicalExpertCount / rankCount
        return try ExpertPlacement(
            expertCount: loads.count,
            expertsByRank: (0 ..< rankCount).map { rank in
                Self.merged(experts[rank * share ..< (rank + 1) * share])
            })
    }

    /// Largest rank load over mean rank load of a placement: 1 is perfect.
    ///
    /// An expert's load is shared equally by its copies.
    package static func imbalance(of placement: ExpertPlacement, loads: [Double]) -> Double {
        let ranks = rankLoads(of: placement, loads: loads)
        let mean = ranks.reduce(0, +) / Double(ranks.count)
        return mean == 0 ? 1 : (ranks.max() ?? 0) / mean
    }

    /// What each rank carries under a placement, in the unit of `loads`.
    package static func rankLoads(of placement: ExpertPlacement, loads: [Double]) -> [Double] {
        let physical = PhysicalExperts(placement)
        return placement.expertsByRank.map { experts in
            experts.reduce(0) { sum, expert in
                sum + loads[expert.rawValue] / Double(physical.copies(of: expert).count)
            }
        }
    }
}

extension ExpertBalancing {
    /// The groups and nodes the policy runs with; one of each when groups do not divide over nodes.
    private struct Counts {
        let groups: Int
        let nodes: Int
    }

    private func checked(_ loads: [Double]) throws(TopologyError) -> Counts {
        guard let highest = [physicalExpertCount, groupCount, nodeCount, rankCount].min(),
            highest > 0, !loads.isEmpty
        else { throw .balancing("experts, copies, groups, nodes and ranks must all be >= 1") }
        guard physicalExpertCount >= loads.count, physicalExpertCount % rankCount == 0 else {
            throw .balancing(
                "\(physicalExpertCount) copies of \(loads.count) experts do not divide over"
                    + " \(rankCount) ranks with every expert present")
        }
        guard rankCount % nodeCount == 0 else {
            throw .balancing("\(rankCount) ranks do not divide over \(nodeCount) nodes")
        }
        guard loads.count % groupCount == 0 else {
            throw .balancing("\(loads.count) experts do not divide into \(groupCount) groups")
        }
        if let expert = loads.firstIndex(where: { !($0 >= 0 && $0.isFinite) }) {
            throw .balancing("the load of expert \(expert) is \(loads[expert]): not a count")
        }
        let isHierarchical = groupCount % nodeCount == 0
        return isHierarchical
            ? Counts(groups: groupCount, nodes: nodeCount) : Counts(groups: 1, nodes: 1)
    }

    /// The logical expert behind each copy, rank after rank.
    private func physicalOrder(loads: [Double], counts: Counts) -> [Int] {
        let groupSize = loads.count / counts.groups
        let groupLoads = (0 ..< counts.groups).map {
            loads[$0 * groupSize ..< ($0 + 1) * groupSize].reduce(0, +)
        }
        let groupsByNode = Self.packed(groupLoads, into: counts.nodes)
        let copiesPerNode = physicalExpertCount / counts.nodes
        return groupsByNode.flatMap { groups in
            let members = groups.flatMap { $0 * groupSize ..< ($0 + 1) * groupSize }
            let copies = Self.copied(loads: members.map { loads[$0] }, into: copiesPerNode)
            let packs = Self.packed(copies.map(\.load), into: rankCount / counts.nodes)
            return packs.flatMap { $0.map { members[copies[$0].member] } }
        }
    }

    /// A rank needs an expert once: a second copy that landed on the same rank is left out.
    private static func merged(_ experts: ArraySlice<Int>) -> [ExpertID] {
        var seen: Set<Int> = []
        return experts.filter { seen.insert($0).inserted }.map(ExpertID.init(rawValue:))
    }

    /// Deals items, heaviest first, each to the lightest pack that still has room; packs hold
    /// equally many.
    ///
    /// Returns item numbers per pack in the order they were dealt.
    private static func packed(_ loads: [Double], into packCount: Int) -> [[Int]] {
        let capacity = loads.count / packCount
        var packs = [[Int]](repeating: [], count: packCount)
        if capacity == 1 { return loads.indices.map { [$0] } }
        var packLoads = [Double](repeating: 0, count: packCount)
        let order = loads.indices.sorted {
            loads[$0] == loads[$1] ? $0 < $1 : loads[$0] > loads[$1]
        }
        for item in order {
            let open = packs.indices.filter { packs[$0].count < capacity }
            guard let lightest = open.min(by: { packLoads[$0] < packLoads[$1] }) else { continue }
            packs[lightest].append(item)
            packLoads[lightest] += loads[item]
        }
        return packs
    }

    /// Gives one more copy at a time to the expert whose copies carry most, until `copyCount`.
    private static func copied(
        loads: [Double], into copyCount: Int
    ) -> [(member: Int, load: Double)] {
        var counts = [Int](repeating: 1, count: loads.count)
        var members = Array(loads.indices)
        while members.count < copyCount {
            var busiest = 0
            for index in loads.indices
            where loads[index] / Double(counts[index])
                > loads[busiest] / Double(counts[busiest])
            {
                busiest = index
            }
            counts[busiest] += 1
            members.append(busiest)
        }
        return members.map { ($0, loads[$0] / Double(counts[$0])) }
    }
}
