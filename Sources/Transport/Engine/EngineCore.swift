import Topology

/// What a core tells the rest of the rank.
struct EngineOutside: Sendable {
    let lostRanks: LostRanks
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
    var rank: Rank { get }
    var rankCount: Int { get }
    var outside: EngineOutside { get }

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

    /// Posts the bytes and the signal as a whole, or not at all.
    func put(_ put: Put) throws(TransportError) -> Posting
    /// Sends a message without bytes on every connection to a rank, if the rank is still there.
    func say(_ kind: PutHeader.Kind, to rank: Rank, value: UInt64)

    /// Moves communication forward; true if anything happened.
    func progress() -> Bool
    /// Prepares to sleep on the descriptors; false if there is something to do first.
    func arm() -> Bool
    /// Readable when an armed core has something to do.
    var eventDescriptors: [Int32] { get }

    /// Operations posted to live ranks and not complete.
    var outstandingCount: Int { get }
    /// Whether a rank lives, as its connections show.
    subscript(liveness rank: Rank) -> PeerLiveness { get set }
    /// Ends the connections to a rank that is gone: what is posted to it no longer counts.
    func disconnect(_ rank: Rank)
    /// Frees what belonged to ranks that are gone.
    func closeFailed()
    /// Frees everything, at the end.
    func closeAll()
}

// MARK: - Liveness

extension EngineCore {
    /// The connected ranks that are not gone.
    var liveRanks: [Rank] {
        (0 ..< rankCount).map { Rank(rawValue: $0) }.filter { self[liveness: $0].isLive }
    }

    /// Whether every live rank acknowledged our goodbye.
    var isGoodbyeAcknowledged: Bool { liveRanks.allSatisfy { self[liveness: $0].hasAcknowledged } }

    /// Shows that this rank lives, and gives up on the ranks that are silent for too long.
    func beat(limit: SilenceLimit, at now: UInt64) {
        for rank in liveRanks {
            say(.heartbeat, to: rank, value: 0)
            perform(self[liveness: rank].checked(at: now, limit: limit), on: rank)
        }
        closeFailed()
    }

    /// Gives up on a rank that others of this rank called lost.
    func abandon(_ rank: Rank) {
        self[liveness: rank].abandoned()
        disconnect(rank)
    }

    /// A connection to a rank ended, or must.
    func end(_ rank: Rank, cause: String) {
        perform(self[liveness: rank].ended(cause: cause), on: rank)
    }

    /// Takes what a header says of its sender; the bytes of a put are the core's affair.
    ///
    /// - Parameter acknowledge: Sends the acknowledgement of a goodbye on the same connection.
    func note(
        _ header: PutHeader, of rank: Rank, on connection: Int, acknowledge: () -> Void
    ) {
        self[liveness: rank].heard(on: connection, at: outside.clock.nanoseconds)
        switch header.kind {
        case .put, .heartbeat: break
        case .goodbyeAcknowledgement: self[liveness: rank].acknowledged(on: connection)
        case .goodbye:
            let suspect = SuspectWord.decode(header.value, own: self.rank, rankCount: rankCount)
            let action = self[liveness: rank].saidGoodbye(on: connection, suspect: suspect)
            perform(action, on: rank)
            acknowledge()
        }
    }

    private func perform(_ action: PeerLiveness.Action, on rank: Rank) {
        switch action {
        case .none: break
        case .leave(let suspect):
            outside.lostRanks.addLeft(rank, suspect: suspect)
            outside.control.ring()
        case .abandon: disconnect(rank)
        case .lose(let cause):
            disconnect(rank)
            outside.lostRanks.add(rank, cause: cause)
            outside.control.ring()
        }
    }
}
