import Foundation

/// How many nodes and ranks a token's experts are spread over, in the mean of even routing.
package struct Spread: Hashable, Sendable {
    /// Routed experts of a block.
    package let experts: Int
    /// Routed experts of a token.
    package let active: Int
    /// Nodes that hold them.
    package let nodes: Int
    /// Ranks that hold them.
    package let ranks: Int
    /// Nodes that a token may reach at most: the limit of its gate.
    package let nodeLimit: Int

    /// - Parameters:
    ///   - groups: Groups of experts that the gate knows.
    ///   - keptGroups: Groups that a token may choose from.
    package init(
        experts: Int, active: Int, ranks: Int, nodes: Int, groups: Int, keptGroups: Int
    ) {
        self.experts = experts
        self.active = active
        self.ranks = ranks
        self.nodes = nodes
        let nodesPerGroup = max(1, Int((Double(nodes) / Double(groups)).rounded(.up)))
        nodeLimit = min(nodes, keptGroups * nodesPerGroup)
    }

    /// Distinct nodes that a token reaches, its own included.
    package var distinctNodes: Double {
        let reachable = Double(experts) * Double(nodeLimit) / Double(nodes)
        return Self.distinct(Double(nodeLimit), of: reachable, active: active)
    }

    /// Distinct ranks that a token reaches, its own included.
    package var distinctRanks: Double {
        let limit = Double(ranks) * Double(nodeLimit) / Double(nodes)
        let reachable = Double(experts) * Double(nodeLimit) / Double(nodes)
        return Self.distinct(limit, of: reachable, active: active)
    }

    /// G (1 - C(E - E/G, k) / C(E, k)): of G equal groups of E experts, how many k distinct experts
    /// fall into.
    ///
    /// Source: DeepEP V2's analytical model of SMs.
    package static func distinct(_ groups: Double, of experts: Double, active: Int) -> Double {
        guard groups > 1 else { return 1 }
        let outside = experts - experts / groups
        var missed = 1.0
        for index in 0 ..< active {
            missed *= max(0, outside - Double(index)) / max(1, experts - Double(index))
        }
        return groups * (1 - missed)
    }
}
