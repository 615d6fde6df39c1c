import CFabric
import Topology

/// One reliable connection, and what travels on it.
///
/// Touched only by the holder of the engine's lock.
@safe final class VerbsRank {
    let rank: Rank
    /// nil before the connection begins and after it was closed.
    var connection: UnsafeMutablePointer<rdma_cm_id>?
    /// Where this rank's records go in the remote rank's memory.
    var mailbox: (address: UInt64, key: UInt32) = (0, 0)
    /// The remote's windows.
    var windows: [Int: (address: UInt64, key: UInt32)] = [:]
    /// What the remote wants to see in a record.
    var key: UInt64 = 0
    /// Records written to the remote, and taken from it.
    var sent: UInt64 = 0
    var taken: UInt64 = 0
    /// Puts counted on both sides; a reliable connection keeps their order.
    var posted: UInt64 = 0
    var arrived: UInt64 = 0
    var outstanding = 0
    /// Reads and writes of the link benchmark in flight.
    var rawOutstanding = 0
    var liveness: PeerLiveness

    init(_ rank: Rank) {
        self.rank = rank
        liveness = PeerLiveness(rank)
    }

    var queue: UnsafeMutablePointer<ibv_qp>? { unsafe connection?.pointee.qp }
}
