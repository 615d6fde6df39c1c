import Glibc
import Topology

/// What a rank knows of every rank, from what each said when it joined.
enum RankTable {
    /// What this rank knows of one rank.
    struct Entry: Sendable {
        let nodeIndex: Int
        let process: Int32
        /// nil where this rank cannot map it.
        let control: ControlBlock?
        let storesReach: Bool
        /// Whether it runs on the same kernel: the nodes of a lab share the cores of one machine.
        let sharesCores: Bool
        /// Where stores reach; elsewhere the engine knows.
        let storePath: Path
    }

    static func build(
        from hellos: [RankHello], _ configuration: FabricConfiguration, own: ControlBlock
    ) throws(TransportError) -> [RankTable.Entry] {
        let nodes = nodeIndices(hellos.map(\.node))
        let ours = configuration.rank.rawValue
        var table: [RankTable.Entry] = []
        for (index, hello) in hellos.enumerated() {
            let sharesNode = nodes[index] == nodes[ours]
            // Loopback ranks share a process whatever nodes they pretend to be on; a simulated
            // network keeps nodes apart.
            let isMappable =
                sharesNode
                || (configuration.transport == .loopback && configuration.simulation == nil)
            let isOwn = index == ours
            table.append(
                RankTable.Entry(
                    nodeIndex: nodes[index], process: hello.process,
                    control: isOwn
                        ? own
                        : isMappable ? try control(of: hello, configuration.clock) : nil,
                    storesReach: sharesNode,
                    sharesCores: NodeIdentity.kernel(of: hello.node)
                        == NodeIdentity.kernel(of: hellos[ours].node),
                    storePath: isOwn
                        ? .own : configuration.transport == .loopback ? .loopback : .sharedMemory))
            if configuration.transport == .shm, !sharesNode {
                throw .unavailable(
                    "transport shm does not reach \(hello.rank): it is on another node")
            }
        }
        return table
    }

    private static func control(
        of hello: RankHello, _ clock: FabricClock
    ) throws(TransportError) -> ControlBlock {
        ControlBlock(
            try Region(
                of: hello.rank, process: hello.process, descriptor: hello.controlDescriptor,
                byteCount: ControlBlock.byteCount),
            clock: clock)
    }

    /// Numbers nodes by their lowest rank.
    static func nodeIndices(_ names: [String]) -> [Int] {
        var indices: [String: Int] = [:]
        return names.map { name in
            let index = indices[name] ?? indices.count
            indices[name] = index
            return index
        }
    }
}
