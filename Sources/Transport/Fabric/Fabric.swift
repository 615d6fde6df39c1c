public import Topology

/// How the ranks of one run reach each other: put with signal into a rank's window.
///
/// A rank is one process, or one thread of a loopback fabric. Its methods may be called from any
/// thread of the rank; collective ones (`makeWindow`, `barrier`) by every rank in the same order.
///
/// A rank that dies, stops, or is cut off is *lost*: from then on every wait of every survivor
/// throws `TransportError.rankLost` with its name, until the survivor calls `mask`.
///
/// One type conforms, `RankFabric`: the protocol is what other rooms see of it. Kinds of transport
/// differ below it, in `EngineCore`.
public protocol Fabric: AnyObject, Sendable {
    /// This rank.
    var rank: Rank { get }
    /// How many ranks there are, the lost ones included.
    var rankCount: Int { get }
    /// The clock of this fabric's deadlines, waits and records.
    var clock: FabricClock { get }
    /// The node of a rank, numbered by its lowest rank's order; ranks of a node share memory.
    func node(of rank: Rank) -> Int
    /// How bytes of this rank get to another.
    func path(to rank: Rank) -> Path

    /// Makes one window per rank that the others may write into. Collective.
    ///
    /// - Parameters:
    ///   - name: The same on all ranks, checked; it names the window in errors.
    ///   - byteCount: Bytes of this rank's window; may differ from rank to rank.
    ///   - signalCount: Signal words of this rank's window; may differ from rank to rank.
    ///   - stagingByteCount: Bytes of memory of our own to put from, for ranks that stores do not
    ///     reach. Costs nothing until it is touched.
    func makeWindow(
        name: String, byteCount: Int, signalCount: Int, stagingByteCount: Int, deadline: Deadline
    ) throws(TransportError) -> Window

    /// Returns when every rank that is not masked has come here. Collective.
    func barrier(deadline: Deadline) throws(TransportError)

    /// Gives every rank the blobs of all, in rank order. Collective; for set-up, not for data.
    func allGather(
        _ blob: [UInt8], label: String, deadline: Deadline
    ) throws(TransportError) -> [[UInt8]]

    /// The ranks known to be lost, masked or not, in the order in which this rank learned it.
    var lostRanks: [Rank] { get }

    /// Declares a rank dead on knowledge of the caller's own, such as a control plane's.
    func markLost(_ rank: Rank, cause: String)

    /// Goes on without a lost rank: waits no longer throw because of it, only waits *for* it do.
    ///
    /// Marks the rank lost if it is not yet.
    func mask(_ rank: Rank)

    /// Leaves. Others that still wait for this rank are told that it left.
    ///
    /// Pass a barrier first where others may still be reading this rank's windows or putting.
    func close()

    /// Stops as a killed process does: says nothing, and its heartbeat ends. For tests.
    func vanish()
}
