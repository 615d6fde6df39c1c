import Testing
import Topology

/// The hierarchical policy for ranks that are there.
@Suite struct NodePackingTests {
    private static let names = ["a", "b", "a", "b", "a", "b", "a", "b"]

    /// Ranks of the two nodes that EPLB publishes for its example, layer by layer.
    private static let published: [Set<Set<Set<Int>>>] = [
        [[[5, 6], [5, 7], [8, 4], [3, 4]], [[10, 9], [10, 2], [0, 1], [11, 1]]],
        [[[7, 10], [6, 8], [6, 11], [8, 9]], [[2, 4], [5, 1], [5, 0], [3, 1]]],
    ]

    @Test func `ranks of a node get what EPLB's example gives to a node`() throws {
        let (placements, slots) = try RebalancingTests.contiguous(12, ranks: 8, more: 4, layers: 2)
        let nodes = NodePacking(names: Self.names, groupCount: 4)
        #expect(nodes.policy(slots: slots) == "hierarchical policy: 4 groups of experts on 2 nodes")
        let result = try Rebalancing.balanced(
            from: placements, loads: ExpertBalancingTests.loads, slots: slots, nodes: nodes)
        for layer in 0 ..< 2 {
            let held = result.placements[layer].expertsByRank.map { Set($0.map(\.rawValue)) }
            let found = Set(
                ["a", "b"].map { node in
                    Set(held.indices.filter { Self.names[$0] == node }.map { held[$0] })
                })
            #expect(found == Self.published[layer])
        }
        // What is there stays, and few moves stay inside a node.
        let again = try Rebalancing.balanced(
            from: result.placements, loads: ExpertBalancingTests.loads, slots: slots, nodes: nodes)
        #expect(again.moves.isEmpty && again.placements == result.placements)
        let other = ExpertBalancingTests.loads.map { Array($0.reversed()) }
        let few = try Rebalancing.bounded(
            from: result.placements, loads: other, slots: slots, maximumMoves: 6, nodes: nodes)
        #expect(!few.moves.isEmpty)
        for layer in 0 ..< 2 {
            for (node, groups) in ["a", "b"].map({ node in
                (node, Self.experts(of: node, result.placements[layer]))
            }) {
                #expect(Self.experts(of: node, few.placements[layer]) == groups)
            }
        }
    }

    private static func experts(of node: String, _ placement: ExpertPlacement) -> Set<ExpertID> {
        Set(
            placement.expertsByRank.indices.filter { names[$0] == node }
                .flatMap { placement.expertsByRank[$0] })
    }

    @Test(arguments: [
        (["a", "a"], 4, [2, 2], "all ranks are on one node"),
        (["a", "b"], 3, [2, 2], "3 groups of experts do not divide over 2 nodes"),
        (["a", "b"], 1, [2, 2], "1 groups of experts do not divide over 2 nodes"),
        (["a", "b", "b"], 2, [2, 2, 2], "nodes have different numbers of ranks"),
        (["a", "b"], 2, [2, 3], "ranks have room for different numbers of copies"),
        ([], 2, [2, 2], "the nodes of the ranks are not known"),
    ])
    func `where it does not divide the global policy is used, and why is said`(
        names: [String], groups: Int, slots: [Int], reason: String
    ) {
        let nodes = NodePacking(names: names, groupCount: groups)
        #expect(nodes.policy(slots: slots) == "global policy: \(reason)")
    }
}
