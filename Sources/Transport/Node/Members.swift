import Glibc
import Topology

/// Builds what a rank knows of the others from what they said when they joined.
enum Members {
    static func build(
        from hellos: [Hello], _ configuration: FabricConfiguration, own: ControlBlock
    ) throws(TransportError) -> [RankFabric.Member] {
        let nodes = nodeIndices(hellos.map(\.node))
        let ours = configuration.rank.rawValue
        var members: [RankFabric.Member] = []
        for (index, hello) in hellos.enumerated() {
            let sharesNode = nodes[index] == nodes[ours]
            // Loopback ranks share a process whatever nodes they pretend to be on.
            let isMappable = sharesNode || configuration.transport == .loopback
            let isOwn = index == ours
            members.append(
                RankFabric.Member(
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
        return members
    }

    private static func control(
        of hello: Hello, _ clock: FabricClock
    ) throws(TransportError) -> ControlBlock {
        ControlBlock(
            try Region(
                of: hello.process, descriptor: hello.controlDescriptor,
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
