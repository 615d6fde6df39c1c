import Collectives
import Tensors
import Topology
import Transport

/// What a rank reads from the memory of other ranks of its node, which takes no virtual time by
/// itself: here the rank waits until the link inside the node would have brought it.
struct NodeReads {
    private let fabric: any Fabric
    private let hiddenSize: Int
    private let adds: Bool
    private let inside: Hardware.IntranodeLink?
    /// By source, whether its tokens lie with another rank of this node.
    private let isNear: [Bool]

    init(_ options: SimulationOptions, _ group: ExpertParallelGroup, _ fabric: any Fabric) {
        self.fabric = fabric
        hiddenSize = options.hiddenSize
        adds = group.configuration.addsBeforeReturn
        inside = options.map.hardware?.intranode
        let (nodes, rank) = (group.nodes, fabric.rank)
        isNear = nodes.indices.map { index in
            let source = Rank(rawValue: index)
            let isNear = nodes[index] == nodes[rank.rawValue]
            let isRelayed = group.configuration.mode == .normal && !isNear
            let holder =
                isRelayed
                ? OracleRanks(rank: source, nodes: nodes).carrier(to: rank)
                : isNear ? source : rank
            return holder != rank
        }
    }

    /// How many of the tokens that arrived lie with another rank of this node.
    func rows(of received: borrowing ReceivedTokens) -> Int {
        var count = 0
        for index in 0 ..< received.tokenCount
        where isNear[received.token(index).source.rawValue] {
            count += 1
        }
        return count
    }

    /// How many outputs of those tokens go home over this node's memory.
    func outputs(of received: borrowing ReceivedTokens) -> Int {
        if adds { return rows(of: received) }
        var count = 0
        for index in 0 ..< received.tokenCount {
            let token = received.token(index)
            if isNear[token.source.rawValue] { count += token.pairs.count }
        }
        return count
    }

    /// Waits until the link has brought so many rows since a half began.
    ///
    /// - Returns: When that wait began and ended; nil if the rows were here already.
    @discardableResult
    func pass(_ rows: Int, _ codec: RowCodec, since start: UInt64) -> Range<UInt64>? {
        guard rows > 0, let inside else { return nil }
        let bytes = rows * codec.byteCount(columns: hiddenSize)
        let rate = inside.bytesPerSecond * inside.efficiency
        let needed = Double(bytes) / rate * 1e9 + inside.latencySeconds * 1e9
        let now = fabric.clock.nanoseconds
        guard needed > Double(now - start) else { return nil }
        SimulatedFabric.compute(
            .nanoseconds(Int64(needed.rounded(.up)) - Int64(now - start)), on: fabric)
        return now ..< fabric.clock.nanoseconds
    }
}
