package import Topology

/// One exchange in a lab, which is predicted and measured.
package struct PredictionSetting: Hashable, Codable, Sendable {
    /// Nodes, and ranks of each.
    package let nodes: Int, ranksPerNode: Int
    /// Rate of every node's NIC, each direction; nil is as fast as the machine goes.
    package let gigabitsPerSecond: Double?
    /// Experts of a token.
    package let topK: Int
    /// How experts are chosen, as `apus bench all-to-all --routing` takes it.
    package let routing: String

    init(
        _ nodes: Int, _ ranksPerNode: Int, _ gigabitsPerSecond: Double?, topK: Int = 8,
        _ routing: String = "uniform"
    ) {
        self.nodes = nodes
        self.ranksPerNode = ranksPerNode
        self.gigabitsPerSecond = gigabitsPerSecond
        self.topK = topK
        self.routing = routing
    }

    package var ranks: Int { nodes * ranksPerNode }

    /// As a row of a table names it.
    package var title: String {
        let rate = gigabitsPerSecond.map { "\(Report.number($0)) Gbit/s" } ?? "unshaped"
        return "\(nodes) x \(ranksPerNode) ranks, \(nodes > 1 ? rate : "one node"), top-\(topK), "
            + routing
    }

    /// A topology file of the lab.
    package var topology: String {
        let rate = gigabitsPerSecond.map { "gigabitsPerSecond: \($0), " } ?? ""
        let node = (0 ..< nodes).map { "  - {name: node\($0), ranks: \(ranksPerNode)}\n" }.joined()
        return """
            name: plan-check
            about: A setting of apus plan check.
            nodes:
            \(node)planes:
              - {name: plane0, \(rate)maximumPacketBytes: \(Self.packetBytes)}

            """
    }

    /// The lab that the topology file describes.
    package func map() throws(TopologyError) -> NodeMap {
        try NodeMap(yaml: topology, path: title)
    }

    /// Jumbo frames, as in the labs of `topology/`.
    private static let packetBytes = 9000

    /// What is predicted: rates of 1 to 4 Gbit/s, 2 to 8 ranks, 1 to 4 nodes, top-2 to top-8, even
    /// and Zipf routing.
    ///
    /// What the cores decide comes first, soon after the anchor that it is carried from.
    package static let all = [
        PredictionSetting(1, 2, nil, topK: 4), PredictionSetting(1, 4, nil, "zipf:1.0"),
        PredictionSetting(2, 1, 1), PredictionSetting(2, 1, 2, topK: 4),
        PredictionSetting(2, 1, 4), PredictionSetting(2, 1, 4, topK: 2),
        PredictionSetting(2, 2, 1, topK: 2), PredictionSetting(2, 2, 2, topK: 6, "zipf:1.0"),
        PredictionSetting(2, 2, 4), PredictionSetting(2, 2, 4, topK: 4, "zipf:0.7"),
        PredictionSetting(3, 1, 2), PredictionSetting(3, 2, 1, topK: 6),
        PredictionSetting(4, 1, 1, topK: 4), PredictionSetting(4, 1, 2, "zipf:1.0"),
        PredictionSetting(2, 4, 2), PredictionSetting(4, 2, 1),
    ]

    /// What is measured first, on this machine: an exchange through memory, and one through sockets
    /// that no rate limits.
    package static let memoryAnchor = PredictionSetting(1, 2, nil)
    package static let socketAnchor = PredictionSetting(2, 1, nil)
}
