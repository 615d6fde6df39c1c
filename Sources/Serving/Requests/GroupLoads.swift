import Encoding
public import Topology

/// How the tokens of a group lie on the experts of each layer, and where these experts are.
public struct GroupLoads: Sendable {
    /// The group's name.
    public var name: String
    /// The ranks that live, numbered as in the job.
    public var ranks: [Rank]
    /// One per layer; its ranks are the indices of `ranks`.
    public var placements: [ExpertPlacement]
    /// `[layers][experts]`, tokens; older ones count less.
    public var loads: [[Double]]
    /// Copies of a layer that each of these ranks has room for, and what it holds beyond.
    public var slots: [Int]
    /// Where the ranks are, for the policy by node.
    public var nodes: NodePacking
    /// The names of their nodes, as people know them.
    public var nodeNames: [String]

    /// States loads.
    public init(
        name: String, ranks: [Rank], placements: [ExpertPlacement], loads: [[Double]],
        slots: [Int], nodes: NodePacking,
        nodeNames: [String]
    ) {
        self.name = name
        self.ranks = ranks
        self.placements = placements
        self.loads = loads
        self.slots = slots
        self.nodes = nodes
        self.nodeNames = nodeNames
    }

    /// Copies of a layer that each rank might hold beyond those it has, in `gains`.
    private static let furtherCopies = 0 ... 2

    /// What `/experts` says of the group. Loads are over the mean of a layer's experts, and
    /// imbalances are the tokens of the busiest rank over the mean rank's.
    ///
    /// Solves a placement for each number of copies: tens of milliseconds for 58 layers of 256.
    func json() -> JSONValue {
        [
            "name": .string(name), "ranks": .array(ranks.map { .number($0.rawValue) }),
            "imbalance": .number(
                Self.rounded(Rebalancing.imbalance(of: placements, loads: loads))),
            "layers": .array(placements.indices.map(layer)), "gains": .array(gains()),
        ]
    }

    private func layer(_ index: Int) -> JSONValue {
        let (placement, tokens) = (placements[index], loads[index])
        let mean = tokens.reduce(0, +) / Double(max(1, tokens.count))
        var holders = [[JSONValue]](repeating: [], count: tokens.count)
        for (rank, experts) in zip(ranks, placement.expertsByRank) {
            for expert in experts { holders[expert.rawValue].append(.number(rank.rawValue)) }
        }
        return [
            "imbalance": .number(
                Self.rounded(Rebalancing.imbalance(of: [placement], loads: [tokens]))),
            "loads": .array(tokens.map { .number(mean > 0 ? Self.rounded($0 / mean) : 0) }),
            "ranks": .array(holders.map { .array($0) }),
        ]
    }

    /// What better places would bring, with the copies that there are and with more; nothing where
    /// experts have no places.
    private func gains() -> [JSONValue] {
        let experts = placements.first?.expertCount ?? 0
        return Self.furtherCopies.compactMap { more in
            let wider = slots.map { min($0 + more, experts) }
            guard
                let better = try? Rebalancing.balanced(
                    from: placements, loads: loads, slots: wider, nodes: nodes)
            else { return nil }
            return [
                "redundant_experts": .number(wider.reduce(0, +) - experts),
                "imbalance": .number(Self.rounded(better.after)),
            ]
        }
    }

    /// Three places are more than a picture shows.
    private static func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
}
