import Topology

/// Who brings a token's rows home, worked out from the nodes alone, as DeepEP's normal mode does.
struct OracleRanks {
    /// This rank.
    let rank: Rank
    /// The node of every rank.
    let nodes: [NodeID]

    /// All ranks.
    var all: [Rank] { nodes.indices.map { Rank(rawValue: $0) } }

    func node(of rank: Rank) -> NodeID { nodes[rank.rawValue] }

    /// Whether a rank is on this rank's node.
    func isNear(_ other: Rank) -> Bool { node(of: other) == node(of: rank) }

    /// The rank of another rank's node that has this rank's place in its own.
    func carrier(to reader: Rank) -> Rank {
        let place = members(of: rank).firstIndex(of: rank) ?? 0
        let candidates = members(of: reader)
        return candidates[place % candidates.count]
    }

    private func members(of rank: Rank) -> [Rank] {
        all.filter { node(of: $0) == node(of: rank) }
    }
}
