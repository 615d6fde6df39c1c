import CFabric
import Glibc
import Synchronization
import Topology

/// Carries puts between nodes by UCX active messages.
///
/// A put over TCP is an active message received into place, never `ucp_put`: UCX 1.13 emulates
/// that at a tenth of the speed.
///
/// Callers post under the lock; one thread makes progress, polls briefly when there is none, then
/// arms the worker and sleeps on its event. Heartbeats and silence are its affair too: UCX notices
/// neither a cut link nor a stopped peer.
///
/// Safe because the state is touched only under the lock.
final class UCXEngine: RemoteEngine, @unchecked Sendable {
    private let state: UCXRails
    private let lock = Mutex<Void>(())
    /// Callers that want the lock; the progress thread lets them have it.
    private let callers = Atomic<Int>(0)
    /// Waiters that make progress themselves, so that no event need wake the progress thread.
    private let pollers = Atomic<Int>(0)
    private let isParked = Atomic<Bool>(false)
    /// When a wait last ended with its event; 0 when the last one went to sleep.
    private let lastPolled = Atomic<UInt64>(0)
    private let isSleeping = Atomic<Bool>(false)
    private let isStopping = Atomic<Bool>(false)
    private let wake: Int32
    private let silence: UInt64
    private let pollTime: UInt64
    private let thread = Mutex<FabricThread?>(nil)
    private let paths = Mutex<[Rank: Path]>([:])

    /// Opens UCX, without connecting to anybody.
    init(
        configuration: FabricConfiguration, outside: UCXState.Outside
    ) throws(TransportError) {
        let devices = try Self.devices(configuration)
        state = try UCXRails(
            rank: configuration.rank, rankCount: configuration.rankCount, devices: devices,
            outside: outside)
        silence = configuration.silenceLimit.wholeNanoseconds
        pollTime = (configuration.pollLimit ?? .microseconds(20)).wholeNanoseconds
        wake = fabric_eventfd()
        guard wake >= 0 else { throw .system("eventfd") }
    }

    deinit { Glibc.close(wake) }

    /// A rail for each device that the user, or the lab in `APUS_DEVICES`, names; without names
    /// one rail, for which UCX chooses.
    private static func devices(
        _ configuration: FabricConfiguration
    ) throws(TransportError) -> [String] {
        let named = unsafe getenv("APUS_DEVICES").map { unsafe String(cString: $0) }
        guard let list = configuration.device ?? named else { return [] }
        try NetworkDevices.check(list)
        return list.split(separator: ",").map(String.init)
    }

    func address() throws(TransportError) -> [UInt8] { try state.address() }

    func connect(_ addresses: [Rank: [UInt8]], deadline: Deadline) throws(TransportError) {
        for (peer, address) in addresses.sorted(by: { $0.key < $1.key }) {
            try state.connect(peer, address: address)
        }
        let started = try FabricThread("apus-ucx") { [unowned self] in run() }
        thread.withLock { $0 = started }
    }

    /// Runs `body` on the state, before the progress thread takes its next turn.
    private func withState<R>(_ body: (UCXRails) throws(TransportError) -> R)
        throws(TransportError) -> R
    {
        callers.add(1, ordering: .relaxed)
        defer { callers.subtract(1, ordering: .relaxed) }
        return try lock.withLock { (_: inout Void) throws(TransportError) in try body(state) }
    }

    func path(to rank: Rank) -> Path {
        if let path = paths.withLock({ $0[rank] }) { return path }
        let text = (try? withState { $0.transports(to: rank) }) ?? ""
        // Before the first message UCX has not chosen yet.
        if text.isEmpty { return .ucx("tcp") }
        let path = Path.ucx(text)
        paths.withLock { $0[rank] = path }
        return path
    }

    func register(_ window: RegisteredWindow) throws(TransportError) -> [UInt8] {
        try withState { $0.register(window) }
        return []
    }

    func learn(window: Int, of rank: Rank, key: [UInt8]) throws(TransportError) {}

    func release(window: Int) {
        try? withState { $0.release(window: window) }
    }

    func put(
        _ window: Window, _ range: Range<Int>, to rank: Rank, at offset: Int, signal: Int?,
        value: UInt64
    ) throws(TransportError) {
        let source = unsafe window.stagedBytes(range)
        while true {
            let posting = try withState { (state) throws(TransportError) in
                try unsafe state.put(
                    to: rank, source, count: range.count, window: window.identifier,
                    offset: offset, signal: signal, value: value)
            }
            if posting == .done { return }
            if isSleeping.load(ordering: .sequentiallyConsistent) { fabric_eventfd_ring(wake) }
            if posting == .pending { return }
            sched_yield()
        }
    }

    func beginPolling() { pollers.add(1, ordering: .sequentiallyConsistent) }

    func poll() {
        _ = lock.withLockIfAvailable { _ in
            for _ in 0 ..< 4 where state.progress() {}
        }
    }

    func endPolling(isSleepNext: Bool) {
        lastPolled.store(isSleepNext ? 0 : fabric_now(), ordering: .relaxed)
        pollers.subtract(1, ordering: .sequentiallyConsistent)
        guard isSleepNext else { return }
        if isParked.load(ordering: .sequentiallyConsistent) { fabric_eventfd_ring(wake) }
    }

    func flush(deadline: Deadline) throws(TransportError) {
        let control = state.outside.control
        while true {
            let rings = control.rings
            if try withState({ $0.outstandingCount }) == 0 { return }
            if let loss = state.outside.losses.ending(waitFor: []) {
                throw .rankLost(loss.rank, phase: deadline.description, cause: loss.cause)
            }
            let remaining = deadline.remainingNanoseconds
            if remaining == 0 { throw deadline.missed(by: nil) }
            control.sleep(since: rings, nanoseconds: min(remaining, 10_000_000))
        }
    }

    func abandon(_ rank: Rank) {
        try? withState { $0.abandon(rank) }
        fabric_eventfd_ring(wake)
    }

    /// How long a rank that leaves waits for the others to hear it.
    private static let farewellLimit = Duration.seconds(1)

    func close(blaming blame: Rank?) {
        let value = blame.map { UInt64($0.rawValue) + 1 } ?? 0
        let peers = (try? withState { $0.livePeers }) ?? []
        for peer in peers { try? withState { $0.say(.goodbye, to: peer, value: value) } }
        fabric_eventfd_ring(wake)
        let deadline = Deadline(Self.farewellLimit, "farewell")
        while !deadline.hasPassed {
            let isHeard = (try? withState { $0.everybodyHeard }) ?? true
            if isHeard { break }
            usleep(200)
        }
        vanish()
    }

    func vanish() {
        guard !isStopping.exchange(true, ordering: .acquiringAndReleasing) else { return }
        fabric_eventfd_ring(wake)
        thread.withLock { $0?.join() }
        try? withState { $0.closeAll() }
    }
}

// MARK: - The progress thread

extension UCXEngine {
    private func run() {
        let beat = max(silence / 8, 10_000_000)
        var lastTurn = fabric_now()
        var nextBeat = lastTurn
        var idleSince = lastTurn
        var trustedSince = lastTurn
        while !isStopping.load(ordering: .acquiring) {
            let now = fabric_now()
            if now &- lastTurn > silence / 2 { trustedSince = now }
            lastTurn = now
            if now >= nextBeat {
                nextBeat = now + beat
                lock.withLock { _ in state.pulse(silence: silence, now, trustedSince) }
            }
            if waitersProgress(now) {
                park()
                idleSince = fabric_now()
            } else if turn() {
                idleSince = now
            } else if now &- idleSince < pollTime {
                letCallersIn()
            } else {
                sleep(until: nextBeat, now)
                idleSince = fabric_now()
            }
        }
    }

    /// How long after a successful wait the next one is expected; a rank that computes longer gets
    /// its progress from this thread.
    private static let relief: UInt64 = 500_000

    /// Whether waiters make the progress now. Two threads that both do fight for the lock: a round
    /// trip over TCP loopback then takes 190 us instead of 20 (apus bench link).
    private func waitersProgress(_ now: UInt64) -> Bool {
        if pollers.load(ordering: .sequentiallyConsistent) > 0 { return true }
        let last = lastPolled.load(ordering: .relaxed)
        return last != 0 && now < last &+ Self.relief
    }

    /// Leaves progress to the waiters for a millisecond, or until one goes to sleep.
    private func park() {
        isParked.store(true, ordering: .sequentiallyConsistent)
        defer { isParked.store(false, ordering: .sequentiallyConsistent) }
        guard waitersProgress(fabric_now()) else { return }
        var entry = pollfd(fd: wake, events: Int16(POLLIN), revents: 0)
        if unsafe Glibc.poll(&entry, 1, 1) > 0 { fabric_eventfd_clear(wake) }
    }

    /// A bounded stretch of progress under the lock.
    private func turn() -> Bool {
        lock.withLock { _ in
            var moved = false
            for _ in 0 ..< 8 where state.progress() { moved = true }
            state.closeFailed()
            return moved
        }
    }

    private func letCallersIn() {
        guard callers.load(ordering: .relaxed) > 0 else { return fabric_pause() }
        for _ in 0 ..< 200 where callers.load(ordering: .relaxed) > 0 { fabric_pause() }
    }

    /// Sleeps until UCX, a caller or the next heartbeat wants something.
    private func sleep(until nextBeat: UInt64, _ now: UInt64) {
        isSleeping.store(true, ordering: .sequentiallyConsistent)
        defer { isSleeping.store(false, ordering: .sequentiallyConsistent) }
        guard lock.withLock({ _ in state.arm() }) else { return }
        guard !isStopping.load(ordering: .acquiring) else { return }
        var entries = ([wake] + state.eventDescriptors).map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        let milliseconds = nextBeat > now ? (nextBeat - now) / 1_000_000 + 1 : 1
        let count = unsafe Glibc.poll(
            &entries, nfds_t(entries.count), Int32(clamping: milliseconds))
        if count > 0, entries[0].revents != 0 { fabric_eventfd_clear(wake) }
    }
}

extension UCXState {
    /// The ranks that have an endpoint and were not lost.
    var livePeers: [Rank] {
        (0 ..< rankCount).filter { unsafe endpoints[$0] != nil && !isGone[$0] }
            .map { Rank(rawValue: $0) }
    }

    /// Whether every live rank heard our good-bye.
    var everybodyHeard: Bool {
        livePeers.allSatisfy { hasFarewell[$0.rawValue] }
    }

    /// Shows that this rank lives, and gives up on those that do not.
    func pulse(silence: UInt64, _ now: UInt64, _ trustedSince: UInt64) {
        for peer in livePeers { say(.heartbeat, to: peer) }
        loseSilent(limit: silence, now: now, trustedSince: trustedSince)
        closeFailed()
        forgetRetired()
    }

    /// The transports and devices of a rank's endpoint, as `tcp/plane0,tcp/plane1`.
    func transports(to peer: Rank) -> String {
        guard let endpoint = unsafe endpoints[peer.rawValue] else { return "" }
        var text = [CChar](repeating: 0, count: 4096)
        unsafe text.withUnsafeMutableBufferPointer {
            unsafe fabric_endpoint_info(endpoint, $0.baseAddress, $0.count)
        }
        let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return EndpointInfo.transports(in: String(decoding: bytes, as: UTF8.self))
    }
}

/// Reads the lanes out of what `ucp_ep_print_info` prints.
enum EndpointInfo {
    /// A lane's line names its transport as `1:tcp/eth0.0`; each is given once, in order.
    static func transports(in text: String) -> String {
        var found: [String] = []
        for line in text.split(separator: "\n") where line.contains("lane[") {
            let words = line.split(separator: " ")
            guard let word = words.first(where: { $0.contains("/") && $0.contains(":") }),
                let name = word.split(separator: ":").last?.split(separator: ".").first
            else { continue }
            if !found.contains(String(name)) { found.append(String(name)) }
        }
        return found.joined(separator: ",")
    }
}
