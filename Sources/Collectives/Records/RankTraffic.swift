/// What has travelled from this rank to another one of its group.
public struct RankTraffic: Hashable, Sendable {
    /// Bytes of tokens and rows, with what says where they belong. To a rank of this node they are
    /// what that rank reads in this one's window; to another node, what is put on the network.
    public var bytes: Int
    /// Whether the other rank is on another node.
    public var crossesNodes: Bool

    /// States traffic.
    package init(bytes: Int = 0, crossesNodes: Bool) {
        self.bytes = bytes
        self.crossesNodes = crossesNodes
    }
}
