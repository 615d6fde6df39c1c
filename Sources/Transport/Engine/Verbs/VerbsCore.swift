import CFabric
import Glibc
import Topology

/// Carries puts by RDMA: the bytes by a write into the window, then a record of 64 bytes by a write
/// with immediate into the receiver's mailbox.
///
/// The record is a `PutHeader`: window, signal and value, or a heartbeat. The receiver sets the
/// signal when the immediate completes, by which time the bytes are there: a reliable
/// connection executes its writes in order.
///
/// Invariants:
/// 1. A mailbox slot is written again only after its receive was posted again, which happens after
///    the slot was read; a sender that is ahead waits in hardware (receiver not ready).
/// 2. A record's slot of ours is written again only after its write completed: at most `depth`
///    writes are outstanding per remote rank.
/// 3. The device bounds remote writes by the registered window; records are checked here.
@safe final class VerbsCore: EngineCore {
    let rank: Rank
    var rankCount: Int { remotes.count }
    let remotes: [VerbsRank]
    let key = UInt64.random(in: .min ... .max)
    let verbs: VerbsDomain
    let outside: EngineOutside
    /// Incoming mailboxes of all ranks, then outgoing records for all ranks.
    let mail: Region
    let mailKey: VerbsRegistration
    var windows = WindowTable()
    /// Kept until the end: the device may still write into a released window.
    var registrations: [(WindowMemory, VerbsRegistration)] = []
    /// By window, for the local side of writes.
    var stagingKeys: [Int: UInt32] = [:]
    var failed: [VerbsRank] = []
    var turnCount = 0

    /// Writes in flight, and receives posted, per remote rank.
    static let depth = 512

    init(
        configuration: FabricConfiguration, outside: EngineOutside
    ) throws(TransportError) {
        rank = configuration.rank
        self.outside = outside
        remotes = (0 ..< configuration.rankCount).map { VerbsRank(Rank(rawValue: $0)) }
        verbs = try VerbsDomain(
            wanted: configuration.device,
            completionCount: 2 * Self.depth * configuration.rankCount)
        let half = configuration.rankCount * Self.depth * PutHeader.byteCount
        mail = try Region(named: "mail", byteCount: 2 * half)
        mailKey = try unsafe VerbsRegistration(
            verbs, mail.base, byteCount: 2 * half, name: "mail")
    }

    /// Where a remote rank's record lies, in the incoming or the outgoing half.
    func record(_ remote: Rank, _ slot: Int, isOutgoing: Bool) -> UnsafeMutableRawPointer {
        let half = isOutgoing ? remotes.count : 0
        let index = (half + remote.rawValue) * Self.depth + slot
        return unsafe mail.base + index * PutHeader.byteCount
    }

    func address() throws(TransportError) -> [UInt8] {
        var writer = WireWriter()
        writer.append(key)
        writer.append(verbs.address)
        writer.append(verbs.listenPort)
        return writer.bytes
    }

    func path(to rank: Rank) -> (path: Path, isFinal: Bool) {
        (.verbs(device: verbs.device, port: verbs.port), true)
    }

    func register(_ window: RegisteredWindow) throws(TransportError) -> [UInt8] {
        var writer = WireWriter()
        windows.register(window)
        if window.memory.byteCount > 0 {
            let key = try unsafe VerbsRegistration(
                verbs, window.memory.bytes, byteCount: window.memory.byteCount,
                name: "window \(window.identifier)")
            registrations.append((window.memory, key))
            writer.append(unsafe UInt64(UInt(bitPattern: window.memory.bytes)))
            writer.append(key.remoteKey)
        } else {
            writer.append(UInt64(0))
            writer.append(UInt32(0))
        }
        if let staging = window.staging {
            let key = try unsafe VerbsRegistration(
                verbs, staging.bytes, byteCount: staging.byteCount,
                name: "staging of window \(window.identifier)")
            registrations.append((staging, key))
            stagingKeys[window.identifier] = key.localKey
        }
        return writer.bytes
    }

    func learn(window: Int, of rank: Rank, key: [UInt8]) throws(TransportError) {
        var reader = WireReader(key, from: rank.description)
        remotes[rank.rawValue].windows[window] = (
            try reader.integer(UInt64.self, "window address"),
            try reader.integer(UInt32.self, "window key")
        )
        try reader.finish()
    }

    /// The device may still write into a window until the connections close, so its registration
    /// and its memory are kept; its signals are no longer set.
    func release(window: Int) { _ = windows.release(window) }

    var outstandingCount: Int { remotes.reduce(0) { $0 + $1.outstanding } }

    subscript(liveness rank: Rank) -> PeerLiveness {
        get { remotes[rank.rawValue].liveness }
        set { remotes[rank.rawValue].liveness = newValue }
    }

    var eventDescriptors: [Int32] {
        unsafe [verbs.channel.pointee.fd, verbs.events.pointee.fd]
    }

    func arm() -> Bool {
        guard unsafe fabric_request_event(verbs.channel, verbs.completions) == 0 else {
            return false
        }
        // A completion before the request causes no event.
        let hasEvents = takeConnectionEvents()
        return !progress() && !hasEvents
    }
}

// MARK: - Losing

extension VerbsCore {
    func disconnect(_ rank: Rank) {
        let remote = remotes[rank.rawValue]
        remote.outstanding = 0
        failed.append(remote)
        outside.control.ring()
    }

    func closeFailed() {
        for remote in failed { close(remote) }
        failed.removeAll()
    }

    func closeAll() {
        for remote in remotes {
            remote.liveness.abandoned()
            close(remote)
        }
        registrations.removeAll()
    }

    private func close(_ remote: VerbsRank) {
        guard let connection = unsafe remote.connection else { return }
        unsafe remote.connection = nil
        unsafe rdma_disconnect(connection)
        unsafe rdma_destroy_qp(connection)
        unsafe rdma_destroy_id(connection)
    }
}
