import Topology

/// What the engine's parts tell the rest of the rank.
struct EngineOutside: Sendable {
    let losses: Losses
    let control: ControlBlock
    let clock: FabricClock
}

/// How a put stands after it was posted.
enum Posting {
    case done
    case pending
    /// Every place is in use; try again after progress.
    case full
}

/// One way to carry puts between nodes, without threads: the engine calls it under its lock.
protocol EngineCore: AnyObject {
    /// What the others' `connect` needs to reach this rank.
    func address() throws(TransportError) -> [UInt8]
    /// Connects to the ranks that stores do not reach.
    func connect(_ addresses: [Rank: [UInt8]], deadline: Deadline) throws(TransportError)
    /// How bytes reach a rank, and whether that can still change.
    func path(to rank: Rank) -> (path: Path, isFinal: Bool)

    /// Lets puts come into a window; returns what the others' `learn` needs.
    func register(_ window: RegisteredWindow) throws(TransportError) -> [UInt8]
    /// Lets puts go to a rank's window.
    func learn(window: Int, of rank: Rank, key: [UInt8]) throws(TransportError)
    /// Drops what still comes for a window.
    func release(window: Int)

    /// Posts the staged range's bytes, which lie at `source`, and the signal.
    func put(
        to peer: Rank, _ range: Range<Int>, _ source: UnsafeRawPointer?, window: Int, offset: Int,
        signal: Int?, value: UInt64
    ) throws(TransportError) -> Posting
    /// Sends a message without bytes, if the rank is still there.
    func say(_ kind: PutHeader.Kind, to peer: Rank, value: UInt64)

    /// Moves communication forward; true if anything happened.
    func progress() -> Bool
    /// Prepares to sleep on the descriptors; false if there is something to do first.
    func arm() -> Bool
    /// Readable when an armed core has something to do.
    var eventDescriptors: [Int32] { get }

    /// Operations posted to live ranks and not complete.
    var outstandingCount: Int { get }
    /// The connected ranks that were not lost.
    var livePeers: [Rank] { get }
    /// Whether every live rank heard our good-bye.
    var everybodyHeard: Bool { get }
    /// Gives up on a rank: what is posted to it no longer counts.
    func abandon(_ peer: Rank)
    /// Frees what belonged to lost ranks.
    func closeFailed()
    /// Frees everything, at the end.
    func closeAll()
    /// Shows that this rank lives, and gives up on those that do not.
    func pulse(silence: UInt64, _ now: UInt64, _ trustedSince: UInt64)
}
