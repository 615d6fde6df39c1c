import Topology

/// A rank as this core knows it.
@safe final class SocketRank {
    let rank: Rank
    /// What it wants to see in a header.
    var key: UInt64 = 0
    /// Its connections that were not lost, by plane.
    var rails: [SocketRail] = []
    /// The interfaces of this node that its connections leave, or left, by.
    var devices: [String] = []
    /// Puts posted to it.
    var posted: UInt64 = 0
    /// Of those, how many its connections have not taken.
    var outstanding = 0
    /// What came of its puts.
    var order = PutOrder()
    var liveness: PeerLiveness

    init(_ rank: Rank) {
        self.rank = rank
        liveness = PeerLiveness(rank)
    }
}
