import CFabric
import Glibc
import Synchronization
import Topology

/// The fabric of one rank: mapped windows inside its node, a remote engine between nodes.
///
/// Invariants:
/// 1. Sizes and descriptors that another rank announced are checked before they are mapped.
/// 2. Descriptors are closed once every rank has mapped them, so a window lives as long as its
///    mappings and leaves nothing behind.
/// 3. Every wait ends: by its event, by a loss, or by its deadline.
final class RankFabric: Fabric {
    /// This rank.
    let rank: Rank
    /// How many ranks there are.
    let rankCount: Int
    /// The clock of this fabric's deadlines, waits and records.
    let clock: FabricClock
    let control: ControlBlock
    let pollNanoseconds: UInt64
    /// How long of that a wait keeps its processor core; then it yields between polls.
    let exclusivePollNanoseconds: UInt64
    let table: [RankTable.Entry]
    let lost: LostRanks
    private let exchange: any AddressExchange
    let engine: ProgressEngine?
    private let heartbeat: Heartbeat
    let windowCount = Mutex(0)
    let isClosed = Atomic<Bool>(false)
    private let barrierState = Mutex<BarrierState?>(nil)

    private struct BarrierState {
        let window: Window
        var count: UInt64 = 0
    }

    init(
        configuration: FabricConfiguration, control: ControlBlock, table: [RankTable.Entry],
        exchange: any AddressExchange, engine: ProgressEngine?, lost: LostRanks
    ) throws(TransportError) {
        rank = configuration.rank
        rankCount = configuration.rankCount
        clock = configuration.clock
        self.control = control
        self.table = table
        self.exchange = exchange
        self.engine = engine
        self.lost = lost
        let hasCores = Self.hasCores(configuration.rank, table)
        pollNanoseconds = Self.pollNanoseconds(configuration, table, hasCores)
        exclusivePollNanoseconds = hasCores ? 20_000 : 2_000
        heartbeat = try Heartbeat(
            own: control, rank: configuration.rank, table: table,
            silenceLimit: configuration.silenceLimit, lostRanks: lost,
            clock: configuration.clock)
    }

    /// Whether each rank of this node has a core of its own.
    private static func hasCores(_ rank: Rank, _ table: [RankTable.Entry]) -> Bool {
        let own = table[rank.rawValue].nodeIndex
        return table.count { $0.nodeIndex == own } <= sysconf(Int32(_SC_NPROCESSORS_ONLN))
    }

    /// Whether each rank of this machine has a second core, for its progress thread.
    static func hasSpareCores(_ table: [RankTable.Entry]) -> Bool {
        2 * table.count(where: \.sharesCores) <= sysconf(Int32(_SC_NPROCESSORS_ONLN))
    }

    /// Inside a node: a futex wake costs about 5 us, so a rank with a core polls four times that;
    /// one that shares its core yields it for the time of a few, so that ranks in step pass the
    /// core on without sleeping. Across nodes the limit must exceed the time that a sleeping rank
    /// takes to answer (90 us measured); otherwise both sides sleep in turn for ever.
    private static func pollNanoseconds(
        _ configuration: FabricConfiguration, _ table: [RankTable.Entry], _ hasCores: Bool
    ) -> UInt64 {
        // A poll of virtual time would never end.
        if configuration.clock.isVirtual { return 0 }
        if let limit = configuration.pollLimit { return limit.wholeNanoseconds }
        if table.contains(where: { !$0.storesReach }) { return hasCores ? 200_000 : 20_000 }
        return hasCores ? 20_000 : 50_000
    }

    /// Makes what needs all ranks: the window that barriers use.
    func join(deadline: Deadline) throws(TransportError) {
        let window = try makeWindow(
            name: "barrier", byteCount: 0, signalCount: rankCount, stagingByteCount: 0,
            deadline: deadline)
        barrierState.withLock { $0 = BarrierState(window: window) }
        try barrier(deadline: deadline)
    }

    /// The window of barriers: a signal per rank.
    var barrierWindow: Window? { barrierState.withLock { $0?.window } }

    /// The node of a rank, in order of the nodes' lowest ranks.
    func node(of rank: Rank) -> Int { table[rank.rawValue].nodeIndex }

    /// How bytes of this rank get to another.
    func path(to rank: Rank) -> Path {
        let entry = table[rank.rawValue]
        if entry.storesReach { return entry.storePath }
        return engine?.path(to: rank) ?? entry.storePath
    }

    @inline(__always)
    func storesReach(_ rank: Rank) -> Bool { table[rank.rawValue].storesReach }

    func ring(_ rank: Rank) { table[rank.rawValue].control?.ring() }

    func remote(_ rank: Rank) throws(TransportError) -> ProgressEngine {
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
        guard let loss = lost.ending(waitFor: conditions.lazy.map(\.source)) else { return nil }
        return .rankLost(loss.rank, phase: deadline.description, cause: loss.cause)
    }

    /// Returns when every rank that is not masked has come here.
    func barrier(deadline: Deadline) throws(TransportError) {
        let (window, count) = barrierState.withLock { barrierState -> (Window?, UInt64) in
            barrierState?.count += 1
            return (barrierState?.window, barrierState?.count ?? 0)
        }
        guard let window else { throw .closed }
        let others = ranks.filter { $0 != rank && !lost.isMasked($0) }
        for other in others {
            try window.signal(rank.rawValue, of: other, value: count)
        }
        for other in others where !lost.isMasked(other) {
            try window.wait(
                signal: other.rawValue, atLeast: count, from: other, deadline: deadline)
        }
    }

    /// Gives every rank the blobs of all, in rank order.
    func allGather(
        _ blob: [UInt8], label: String, deadline: Deadline
    ) throws(TransportError) -> [[UInt8]] {
        do throws(TransportError) {
            return try exchange.allGather(blob, label: label, deadline: deadline)
        } catch {
            // The exchange does not see the losses that heartbeats saw meanwhile.
            guard case .deadline = error, let loss = lost.ending(waitFor: []) else {
                throw error
            }
            throw .rankLost(loss.rank, phase: deadline.description, cause: loss.cause)
        }
    }

    /// The ranks known to be lost, in the order in which this rank learned it.
    var lostRanks: [Rank] { lost.ranks }

    /// Declares a rank dead.
    func markLost(_ rank: Rank, cause: String) {
        guard lost.add(rank, cause: cause) else { return }
        engine?.abandon(rank)
        control.ring()
    }

    /// Goes on without a lost rank.
    func mask(_ rank: Rank) {
        markLost(rank, cause: "it was masked")
        lost.mask(rank)
    }

    /// Leaves.
    func close() {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        let suspect = lost.suspect
        control.set(suspectWord: SuspectWord.encode(suspect))
        engine?.close(suspect: suspect)
        control.set(.left)
        heartbeat.stop()
        for entry in table { entry.control?.ring() }
        exchange.close()
        barrierState.withLock { $0 = nil }
    }

    /// Stops as a killed process does: says nothing, and its heartbeat ends. For tests of loopback.
    func vanish() {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        engine?.vanish()
        heartbeat.stop()
        control.ring()
        barrierState.withLock { $0 = nil }
    }

    deinit { close() }
}
