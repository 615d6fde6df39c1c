import CFabric
import Glibc
import Synchronization
public import Topology

/// The fabric of one rank: mapped windows inside its node, a remote engine between nodes.
///
/// Invariants:
/// 1. What a peer announced (sizes, descriptors) is checked before it is mapped.
/// 2. Descriptors are closed once every rank has mapped them, so a window lives as long as its
///    mappings and leaves nothing behind.
/// 3. Every wait ends: by its event, by a loss, or by its deadline.
public final class RankFabric: Fabric {
    /// This rank.
    public let rank: Rank
    /// How many ranks there are.
    public let rankCount: Int
    /// The clock of this fabric's deadlines, waits and records.
    public let clock: FabricClock
    let control: ControlBlock
    let pollNanoseconds: UInt64
    /// How much of that a wait keeps the core to itself; then it yields between looks.
    let politeNanoseconds: UInt64
    let members: [Member]
    let losses: Losses
    private let exchange: any AddressExchange
    let engine: (any RemoteEngine)?
    private let pulse: Pulse
    private let windowCount = Mutex(0)
    private let isClosed = Atomic<Bool>(false)
    private let meeting = Mutex<Meeting?>(nil)

    /// What this rank knows of another.
    struct Member: Sendable {
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

    private struct Meeting {
        let window: Window
        var count: UInt64 = 0
    }

    init(
        configuration: FabricConfiguration, control: ControlBlock, members: [Member],
        exchange: any AddressExchange, engine: (any RemoteEngine)?, losses: Losses
    ) throws(TransportError) {
        rank = configuration.rank
        rankCount = configuration.rankCount
        clock = configuration.clock
        self.control = control
        self.members = members
        self.exchange = exchange
        self.engine = engine
        self.losses = losses
        let hasCores = Self.hasCores(configuration.rank, members)
        pollNanoseconds = Self.pollNanoseconds(configuration, members, hasCores)
        politeNanoseconds = hasCores ? 20_000 : 2_000
        pulse = try Pulse(
            own: control, rank: configuration.rank, members: members,
            silenceLimit: configuration.silenceLimit, losses: losses, clock: configuration.clock)
    }

    /// Whether each rank of this node has a core of its own.
    private static func hasCores(_ rank: Rank, _ members: [Member]) -> Bool {
        let own = members[rank.rawValue].nodeIndex
        return members.count { $0.nodeIndex == own } <= sysconf(Int32(_SC_NPROCESSORS_ONLN))
    }

    /// Whether each rank of this machine has a second core, for its progress thread.
    static func hasSpareCores(_ members: [Member]) -> Bool {
        2 * members.count(where: \.sharesCores) <= sysconf(Int32(_SC_NPROCESSORS_ONLN))
    }

    /// Inside a node: a futex wake costs about 5 us, so a rank with a core polls four times that;
    /// one that shares its core yields it for the time of a few, so that ranks in step pass the
    /// core on without sleeping. Across nodes the limit must exceed what a sleeping peer takes to
    /// answer (90 us measured), or both sides sleep in turn for ever.
    private static func pollNanoseconds(
        _ configuration: FabricConfiguration, _ members: [Member], _ hasCores: Bool
    ) -> UInt64 {
        // A poll of virtual time would never end.
        if configuration.clock.isVirtual { return 0 }
        if let limit = configuration.pollLimit { return limit.wholeNanoseconds }
        if members.contains(where: { !$0.storesReach }) { return hasCores ? 200_000 : 20_000 }
        return hasCores ? 20_000 : 50_000
    }

    /// Makes what needs all ranks: the window that barriers use.
    func join(deadline: Deadline) throws(TransportError) {
        let window = try makeWindow(
            name: "barrier", byteCount: 0, signalCount: rankCount, stagingByteCount: 0,
            deadline: deadline)
        meeting.withLock { $0 = Meeting(window: window) }
        try barrier(deadline: deadline)
    }

    /// The window of barriers: a signal per rank.
    var barrierWindow: Window? { meeting.withLock { $0?.window } }

    /// The node of a rank, in order of the nodes' lowest ranks.
    public func node(of rank: Rank) -> Int { members[rank.rawValue].nodeIndex }

    /// How bytes of this rank get to another.
    public func path(to rank: Rank) -> Path {
        let member = members[rank.rawValue]
        if member.storesReach { return member.storePath }
        return engine?.path(to: rank) ?? member.storePath
    }

    @inline(__always)
    func storesReach(_ rank: Rank) -> Bool { members[rank.rawValue].storesReach }

    func ring(_ rank: Rank) { members[rank.rawValue].control?.ring() }

    func remote(_ rank: Rank) throws(TransportError) -> any RemoteEngine {
        if isClosed.load(ordering: .acquiring) { throw .closed }
        guard let engine else { throw .unavailable("no way to \(rank): it is on another node") }
        return engine
    }

    func release(window identifier: Int) { engine?.release(window: identifier) }

    func flush(deadline: Deadline) throws(TransportError) {
        try engine?.flush(deadline: deadline)
    }

    /// The error that must end a wait for `conditions` now, if any.
    func loss(awaiting conditions: [SignalCondition], deadline: Deadline) -> TransportError? {
        if isClosed.load(ordering: .acquiring) { return .closed }
        guard let loss = losses.ending(waitFor: conditions.lazy.map(\.source)) else { return nil }
        return .rankLost(loss.rank, phase: deadline.description, cause: loss.cause)
    }

    /// Returns when every rank that is not masked has come here.
    public func barrier(deadline: Deadline) throws(TransportError) {
        let (window, count) = meeting.withLock { meeting -> (Window?, UInt64) in
            meeting?.count += 1
            return (meeting?.window, meeting?.count ?? 0)
        }
        guard let window else { throw .closed }
        let others = ranks.filter { $0 != rank && !losses.isMasked($0) }
        for other in others {
            try window.signal(rank.rawValue, of: other, value: count)
        }
        for other in others where !losses.isMasked(other) {
            try window.wait(
                signal: other.rawValue, atLeast: count, from: other, deadline: deadline)
        }
    }

    /// Gives every rank the blobs of all, in rank order.
    public func allGather(
        _ blob: [UInt8], label: String, deadline: Deadline
    ) throws(TransportError) -> [[UInt8]] {
        do throws(TransportError) {
            return try exchange.allGather(blob, label: label, deadline: deadline)
        } catch {
            // Who meets elsewhere does not see what heartbeats saw meanwhile.
            guard case .deadline = error, let loss = losses.ending(waitFor: []) else {
                throw error
            }
            throw .rankLost(loss.rank, phase: deadline.description, cause: loss.cause)
        }
    }

    /// The ranks known to be lost, in the order in which this rank learned it.
    public var lostRanks: [Rank] { losses.ranks }

    /// Declares a rank dead.
    public func markLost(_ rank: Rank, cause: String) {
        guard losses.add(rank, cause: cause) else { return }
        engine?.abandon(rank)
        control.ring()
    }

    /// Goes on without a lost rank.
    public func mask(_ rank: Rank) {
        markLost(rank, cause: "it was masked")
        losses.mask(rank)
    }

    /// Leaves.
    public func close() {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        let blame = losses.blame
        if let blame { control.set(blame: blame) }
        engine?.close(blaming: blame)
        control.set(.left)
        pulse.stop()
        for member in members { member.control?.ring() }
        exchange.close()
        meeting.withLock { $0 = nil }
    }

    /// Stops as a killed process does: says nothing, and its heartbeat ends. For tests of loopback.
    public func vanish() {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        engine?.vanish()
        pulse.stop()
        control.ring()
        meeting.withLock { $0 = nil }
    }

    deinit { close() }
}

extension RankFabric {
    /// Makes one window per rank that the others may write into.
    public func makeWindow(
        name: String, byteCount: Int, signalCount: Int, stagingByteCount: Int, deadline: Deadline
    ) throws(TransportError) -> Window {
        precondition(byteCount >= 0 && signalCount >= 0 && stagingByteCount >= 0)
        if isClosed.load(ordering: .acquiring) { throw .closed }
        let identifier = windowCount.withLock { count in
            defer { count += 1 }
            return count
        }
        let region = try Region(
            named: name,
            byteCount: WindowMemory.regionByteCount(
                byteCount: byteCount, signalCount: signalCount))
        let memory = WindowMemory(
            region: region, byteCount: byteCount, signalCount: signalCount)
        var staging: WindowMemory?
        if stagingByteCount > 0 {
            let region = try Region(named: "\(name)-staging", byteCount: stagingByteCount)
            staging = WindowMemory(region: region, byteCount: stagingByteCount, signalCount: 0)
        }
        let key =
            try engine?.register(
                RegisteredWindow(identifier: identifier, memory: memory, staging: staging)) ?? []
        let offer = WindowOffer(
            name: name, identifier: identifier, byteCount: byteCount, signalCount: signalCount,
            descriptor: region.descriptor, key: key)
        let label = "window \(identifier)"
        let blobs = try allGather(offer.encoded(), label: label, deadline: deadline)
        var offers: [WindowOffer] = []
        for (index, blob) in blobs.enumerated() {
            let theirs = try WindowOffer(decoding: blob, from: Rank(rawValue: index))
            try theirs.agree(with: offer, from: Rank(rawValue: index))
            offers.append(theirs)
        }
        let peers = try map(offers, own: memory)
        // Everybody has mapped everything: the descriptors have served (invariant 2).
        _ = try allGather([], label: "\(label) is mapped", deadline: deadline)
        region.closeDescriptor()
        return Window(
            name: name, identifier: identifier, memory: memory, peers: peers,
            sizes: offers.map {
                WindowSize(byteCount: $0.byteCount, signalCount: $0.signalCount)
            },
            staging: staging, fabric: self)
    }

    private func map(
        _ offers: [WindowOffer], own: WindowMemory
    ) throws(TransportError) -> [WindowMemory?] {
        var peers: [WindowMemory?] = []
        for (index, offer) in offers.enumerated() {
            let member = members[index]
            if index == rank.rawValue {
                peers.append(own)
            } else if member.storesReach || engine == nil {
                let region = try Region(
                    of: member.process, descriptor: offer.descriptor,
                    byteCount: WindowMemory.regionByteCount(
                        byteCount: offer.byteCount, signalCount: offer.signalCount))
                peers.append(
                    WindowMemory(
                        region: region, byteCount: offer.byteCount,
                        signalCount: offer.signalCount))
            } else {
                try engine?.learn(
                    window: offer.identifier, of: Rank(rawValue: index), key: offer.key)
                peers.append(nil)
            }
        }
        return peers
    }
}
