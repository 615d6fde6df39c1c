public import Topology

/// What one rank's routing asks of the ground: the layout that a dispatch would have, counted
/// without moving anything.
///
/// A token counts once per rank and once per node, however many of its experts live there.
public struct TrafficCount: Hashable, Sendable {
    /// Tokens with at least one expert on the rank.
    public let tokensPerRank: [Int]
    /// Tokens with at least one expert on the node.
    public let tokensPerNode: [Int]
    /// Choices of the logical expert.
    public let tokensPerExpert: [Int]
    /// Choices on the rank: what one row per token and expert would move.
    public let choicesPerRank: [Int]

    /// Counts a routing.
    ///
    /// - Parameters:
    ///   - chooser: Says which copy serves a choice.
    ///   - nodes: The node of every rank.
    public init(of routing: Routing, chooser: CopyChooser, nodes: [NodeID]) {
        var perRank = [Int](repeating: 0, count: nodes.count)
        var perNode = [Int](repeating: 0, count: (nodes.max()?.rawValue ?? 0) + 1)
        var perExpert = [Int](repeating: 0, count: chooser.expertCount)
        var choices = perRank
        for token in 0 ..< routing.tokenCount {
            var ranks: Set<Rank> = []
            for choice in token * routing.topK ..< (token + 1) * routing.topK {
                let expert = Int(routing.expertIDs[choice])
                guard expert >= 0 else { continue }
                let home = chooser.copy(of: ExpertID(rawValue: expert), token: token)
                perExpert[expert] += 1
                choices[home.rank.rawValue] += 1
                ranks.insert(home.rank)
            }
            for rank in ranks { perRank[rank.rawValue] += 1 }
            for node in Set(ranks.map { nodes[$0.rawValue] }) { perNode[node.rawValue] += 1 }
        }
        tokensPerRank = perRank
        tokensPerNode = perNode
        tokensPerExpert = perExpert
        choicesPerRank = choices
    }

    /// Distinct groups that a token is expected to hit when its `topK` experts are drawn evenly,
    /// without repetition, from `experts` in equal groups: G (1 - C(E - E/G, k) / C(E, k)).
    public static func expectedDistinct(groups: Int, experts: Int, topK: Int) -> Double {
        let others = experts - experts / groups
        var missed = 1.0
        for drawn in 0 ..< topK {
            missed *= max(0, Double(others - drawn)) / Double(experts - drawn)
        }
        return Double(groups) * (1 - missed)
    }
}
