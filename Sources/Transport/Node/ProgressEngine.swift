import CFabric
import Glibc
import Synchronization
import Topology

/// Runs a core: callers post under the lock; one thread makes progress, polls briefly when there is
/// none, then arms the core and sleeps on its events.
///
/// Heartbeats and silence are its affair too: UCX notices neither a cut link nor a stopped peer.
///
/// Safe because the core is touched only under the lock.
final class ProgressEngine: RemoteEngine, @unchecked Sendable {
    private let core: any EngineCore
    private let outside: EngineOutside
    private let lock = Mutex<Void>(())
    /// Callers that want the lock; the progress thread lets them have it.
    private let callers = Atomic<Int>(0)
    /// Waiters that make progress themselves, so that no event need wake the progress thread.
    private let pollers = Atomic<Int>(0)
    private let isParked = Atomic<Bool>(false)
    /// When a wait last ended with its event, or a caller made progress; 0 when the last waiter
    /// went to sleep.
    private let lastPolled = Atomic<UInt64>(0)
    private let isSleeping = Atomic<Bool>(false)
    private let isStopping = Atomic<Bool>(false)
    private let wake: Wakeup
    private let clock: FabricClock
    private let silence: UInt64
    private let pollTime: UInt64
    private let flushPollTime: UInt64
    /// Whether who posts also makes progress: there is no core to spare for the progress thread.
    private let callersProgress: Bool
    private let thread = Mutex<FabricThread?>(nil)
    private let paths = Mutex<[Rank: Path]>([:])

    init(
        _ core: any EngineCore, configuration: FabricConfiguration, callersProgress: Bool,
        outside: EngineOutside
    ) throws(TransportError) {
        self.callersProgress = callersProgress
        self.core = core
        self.outside = outside
        silence = configuration.silenceLimit.wholeNanoseconds
        clock = outside.clock
        // A poll of virtual time would never end.
        pollTime =
            clock.isVirtual
            ? 0 : (configuration.pollLimit ?? .microseconds(20)).wholeNanoseconds
        flushPollTime = clock.isVirtual ? 0 : Self.longestFlushPoll
        wake = try Wakeup(clock: clock)
    }

    func address() throws(TransportError) -> [UInt8] { try core.address() }

    func connect(_ addresses: [Rank: [UInt8]], deadline: Deadline) throws(TransportError) {
        try core.connect(addresses, deadline: deadline)
        let started = try FabricThread("apus-progress", clock: clock) { [unowned self] in run() }
        thread.withLock { $0 = started }
    }

    /// Runs `body` on the state, before the progress thread takes its next turn.
    private func withState<R>(_ body: (any EngineCore) throws(TransportError) -> R)
        throws(TransportError) -> R
    {
        callers.add(1, ordering: .relaxed)
        defer { callers.subtract(1, ordering: .relaxed) }
        return try lock.withLock { (_: inout Void) throws(TransportError) in try body(core) }
    }

    /// Runs `body` on the core if it is verbs; nil if it is another.
    func withVerbs<R>(_ body: (VerbsCore) throws(TransportError) -> R) throws(TransportError) -> R?
    {
        try withState { (core) throws(TransportError) -> R? in
            guard let verbs = core as? VerbsCore else { return nil }
            return try body(verbs)
        }
    }

    func path(to rank: Rank) -> Path {
        if let path = paths.withLock({ $0[rank] }) { return path }
        guard let (path, isFinal) = try? withState({ $0.path(to: rank) }) else { return .own }
        if isFinal { paths.withLock { $0[rank] = path } }
        return path
    }

    func register(_ window: RegisteredWindow) throws(TransportError) -> [UInt8] {
        try withState { (core) throws(TransportError) in try core.register(window) }
    }

    func learn(window: Int, of rank: Rank, key: [UInt8]) throws(TransportError) {
        try withState { (core) throws(TransportError) in
            try core.learn(window: window, of: rank, key: key)
        }
    }

    func release(window: Int) {
        try? withState { $0.release(window: window) }
    }

    func put(
        _ window: Window, _ range: Range<Int>, to rank: Rank, at offset: Int, signal: Int?,
        value: UInt64
    ) throws(TransportError) {
        var start = range.lowerBound
        while range.upperBound - start > Self.stretchBytes {
            let stretch = start ..< start + Self.stretchBytes
            try post(
                window, stretch, to: rank, at: offset + start - range.lowerBound, signal: nil,
                value: 0)
            start = stretch.upperBound
        }
        try post(
            window, start ..< range.upperBound, to: rank, at: offset + start - range.lowerBound,
            signal: signal, value: value)
    }

    /// A core posts a stretch as a whole or not at all, so it must fit into what it has in flight.
    private static let stretchBytes = 64 << 20

    private func post(
        _ window: Window, _ range: Range<Int>, to rank: Rank, at offset: Int, signal: Int?,
        value: UInt64
    ) throws(TransportError) {
        let source = unsafe window.stagedBytes(range)
        while true {
            let posting = try withState { (core) throws(TransportError) in
                let posting = try unsafe core.put(
                    to: rank, range, source, window: window.identifier,
                    offset: offset, signal: signal, value: value)
                if callersProgress { _ = Self.progress(core, atMost: 4) }
                return posting
            }
            // The progress thread keeps out of the way of the next post.
            if callersProgress { lastPolled.store(clock.nanoseconds, ordering: .relaxed) }
            if posting == .done { return }
            if isSleeping.load(ordering: .sequentiallyConsistent) { wake.ring() }
            if posting == .pending { return }
            clock.pause()
        }
    }

    func beginPolling() { pollers.add(1, ordering: .sequentiallyConsistent) }

    func poll() {
        _ = lock.withLockIfAvailable { _ in Self.progress(core, atMost: 4) }
    }

    /// Lets the core go on while it finds something to do; true if it did.
    private static func progress(_ core: any EngineCore, atMost limit: Int) -> Bool {
        var count = 0
        while count < limit, core.progress() { count += 1 }
        return count > 0
    }

    func endPolling(isSleepNext: Bool) {
        lastPolled.store(isSleepNext ? 0 : clock.nanoseconds, ordering: .relaxed)
        pollers.subtract(1, ordering: .sequentiallyConsistent)
        guard isSleepNext else { return }
        if isParked.load(ordering: .sequentiallyConsistent) { wake.ring() }
    }

    /// As long as a wait between nodes polls: whoever sleeps sooner answers late.
    private static let longestFlushPoll: UInt64 = 200_000

    func flush(deadline: Deadline) throws(TransportError) {
        let begin = clock.nanoseconds
        beginPolling()
        while try withState({ $0.outstandingCount }) > 0 {
            let spent = clock.nanoseconds &- begin
            if spent >= flushPollTime { break }
            poll()
            if spent > pollTime { sched_yield() }
        }
        let isFlushed = try withState { $0.outstandingCount } == 0
        endPolling(isSleepNext: !isFlushed)
        if isFlushed { return }
        let control = outside.control
        while true {
            let rings = control.rings
            if try withState({ $0.outstandingCount }) == 0 { return }
            if let loss = outside.losses.ending(waitFor: []) {
                throw .rankLost(loss.rank, phase: deadline.description, cause: loss.cause)
            }
            let remaining = deadline.remainingNanoseconds
            if remaining == 0 { throw deadline.missed(by: nil) }
            control.sleep(since: rings, nanoseconds: min(remaining, 10_000_000))
        }
    }

    func abandon(_ rank: Rank) {
        try? withState { $0.abandon(rank) }
        wake.ring()
    }

    /// How long a rank that leaves waits for the others to hear it.
    private static let farewellLimit = Duration.seconds(1)

    func close(blaming blame: Rank?) {
        let value = blame.map { UInt64($0.rawValue) + 1 } ?? 0
        let peers = (try? withState { $0.livePeers }) ?? []
        for peer in peers { try? withState { $0.say(.goodbye, to: peer, value: value) } }
        wake.ring()
        let deadline = Deadline(Self.farewellLimit, "farewell", clock: clock)
        while !deadline.hasPassed {
            let isHeard = (try? withState { $0.everybodyHeard }) ?? true
            if isHeard { break }
            clock.pause(200_000)
        }
        vanish()
    }

    func vanish() {
        guard !isStopping.exchange(true, ordering: .acquiringAndReleasing) else { return }
        wake.ring()
        thread.withLock { $0?.join() }
        try? withState { $0.closeAll() }
    }
}

// MARK: - The progress thread

extension ProgressEngine {
    private func run() {
        let beat = max(silence / 8, 10_000_000)
        var lastTurn = clock.nanoseconds
        var nextBeat = lastTurn
        var idleSince = lastTurn
        var trustedSince = lastTurn
        while !isStopping.load(ordering: .acquiring) {
            let now = clock.nanoseconds
            if now &- lastTurn > silence / 2 { trustedSince = now }
            lastTurn = now
            if now >= nextBeat {
                nextBeat = now + beat
                lock.withLock { _ in core.pulse(silence: silence, now, trustedSince) }
            }
            if waitersProgress(now) {
                park()
                idleSince = clock.nanoseconds
            } else if turn() {
                idleSince = now
            } else if now &- idleSince < pollTime {
                letCallersIn()
            } else {
                sleep(until: nextBeat)
                idleSince = clock.nanoseconds
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
        guard waitersProgress(clock.nanoseconds) else { return }
        var entries = [pollfd(fd: wake.descriptor, events: Int16(POLLIN), revents: 0)]
        if clock.wait(for: &entries, until: clock.nanoseconds &+ 1_000_000) { wake.clear() }
    }

    /// A bounded stretch of progress under the lock.
    private func turn() -> Bool {
        lock.withLock { _ in
            defer { core.closeFailed() }
            return Self.progress(core, atMost: 8)
        }
    }

    private func letCallersIn() {
        guard callers.load(ordering: .relaxed) > 0 else { return fabric_pause() }
        for _ in 0 ..< 200 where callers.load(ordering: .relaxed) > 0 { fabric_pause() }
    }

    /// Sleeps until UCX, a caller or the next heartbeat wants something.
    private func sleep(until nextBeat: UInt64) {
        isSleeping.store(true, ordering: .sequentiallyConsistent)
        defer { isSleeping.store(false, ordering: .sequentiallyConsistent) }
        guard lock.withLock({ _ in core.arm() }) else { return }
        guard !isStopping.load(ordering: .acquiring) else { return }
        var entries = ([wake.descriptor] + core.eventDescriptors).map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        guard clock.wait(for: &entries, until: nextBeat) else { return }
        if entries[0].revents != 0 { wake.clear() }
    }
}
