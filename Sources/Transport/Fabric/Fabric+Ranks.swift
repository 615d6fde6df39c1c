public import Topology

extension Fabric {
    /// All ranks, in order.
    public var ranks: [Rank] { (0 ..< rankCount).map { Rank(rawValue: $0) } }

    /// The ranks on this rank's node, itself included.
    public var nodeRanks: [Rank] { ranks.filter { node(of: $0) == node(of: rank) } }

    /// How many nodes there are.
    public var nodeCount: Int { (ranks.map { node(of: $0) }.max() ?? 0) + 1 }

    /// A deadline `limit` from now, on this fabric's clock.
    public func deadline(
        _ limit: Duration, _ phase: StaticString, layer: Int? = nil
    ) -> Deadline {
        Deadline(limit, phase, layer: layer, clock: clock)
    }

    /// Makes a window without staging memory; see the full form.
    public func makeWindow(
        name: String, byteCount: Int, signalCount: Int, deadline: Deadline
    ) throws(TransportError) -> Window {
        try makeWindow(
            name: name, byteCount: byteCount, signalCount: signalCount, stagingByteCount: 0,
            deadline: deadline)
    }
}
