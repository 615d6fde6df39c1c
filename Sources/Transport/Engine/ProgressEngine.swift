import CFabric
import Glibc
import Synchronization
import Topology

/// Carries puts to ranks that stores do not reach, by running a core.
///
/// Callers post under the core's lock. One thread makes progress: it polls briefly when there is
/// none, then arms the core and sleeps on the core's events. The receiving side writes into the
/// window's memory and rings the rank's doorbell, so that waits are the same for every way bytes
/// come.
///
/// The thread also sends heartbeats and judges silence, because no core notices a cut link or a
/// stopped rank by itself.
final class ProgressEngine: Sendable {
    let core: Mutex<any EngineCore>
    private let outside: EngineOutside
    /// Callers that want the lock; the progress thread lets them have it.
    let callers = Atomic<Int>(0)
    /// Waiters that make progress themselves, so that no event need wake the progress thread.
    let pollers = Atomic<Int>(0)
    let isParked = Atomic<Bool>(false)
    /// When a wait last ended with its event, or a caller made progress; 0 when the last waiter
    /// went to sleep.
    let lastPolled = Atomic<UInt64>(0)
    let isSleeping = Atomic<Bool>(false)
    let isStopping = Atomic<Bool>(false)
    let wake: Wakeup
    let clock: FabricClock
    let silenceLimit: Duration
    let pollTime: UInt64
    private let flushPollTime: UInt64
    /// Whether the posting thread also makes progress, because ranks have no spare processor core
    /// for the progress thread.
    private let callersProgress: Bool
    private let thread = Mutex<FabricThread?>(nil)
    private let paths = Mutex<[Rank: Path]>([:])

    init(
        _ core: consuming sending any EngineCore, configuration: FabricConfiguration,
        callersProgress: Bool,
        outside: EngineOutside
    ) throws(TransportError) {
        self.callersProgress = callersProgress
        self.core = Mutex(core)
        self.outside = outside
        silenceLimit = configuration.silenceLimit
        clock = outside.clock
        // A poll of virtual time would never end.
        pollTime =
            clock.isVirtual
            ? 0 : (configuration.pollLimit ?? .microseconds(20)).wholeNanoseconds
        flushPollTime = clock.isVirtual ? 0 : Self.longestFlushPoll
        wake = try Wakeup(clock: clock)
    }

    /// What the others' `connect` needs to reach this rank.
    func address() throws(TransportError) -> [UInt8] {
        try withCore { (core) throws(TransportError) in try core.address() }
    }

    /// Connects to the ranks of `addresses`, which are what their engines' `address` said.
    func connect(_ addresses: [Rank: [UInt8]], deadline: Deadline) throws(TransportError) {
        try withCore { (core) throws(TransportError) in
            try core.connect(addresses, deadline: deadline)
        }
        let started = try FabricThread("apus-progress", clock: clock) { [unowned self] in run() }
        thread.withLock { $0 = started }
    }

    /// Runs `body` on the core, before the progress thread takes its next turn.
    private func withCore<R: Sendable, E: Error>(
        _ body: (any EngineCore) throws(E) -> R
    ) throws(E) -> R {
        callers.add(1, ordering: .relaxed)
        defer { callers.subtract(1, ordering: .relaxed) }
        return try core.withLock { (core) throws(E) in try body(core) }
    }

    /// Runs `body` on the core if it is verbs; nil if it is another.
    func withVerbs<R: Sendable>(
        _ body: (VerbsCore) throws(TransportError) -> R
    ) throws(TransportError) -> R? {
        try withCore { (core) throws(TransportError) -> R? in
            guard let verbs = core as? VerbsCore else { return nil }
            return try body(verbs)
        }
    }

    /// How bytes reach a rank, once connected.
    func path(to rank: Rank) -> Path {
        if let path = paths.withLock({ $0[rank] }) { return path }
        let (path, isFinal) = withCore { $0.path(to: rank) }
        if isFinal { paths.withLock { $0[rank] = path } }
        return path
    }

    /// Lets incoming puts find a window's memory; returns what the others' `learn` needs.
    func register(_ window: RegisteredWindow) throws(TransportError) -> [UInt8] {
        try withCore { (core) throws(TransportError) in try core.register(window) }
    }

    /// Takes what another rank's `register` returned.
    func learn(window: Int, of rank: Rank, key: [UInt8]) throws(TransportError) {
        try withCore { (core) throws(TransportError) in
            try core.learn(window: window, of: rank, key: key)
        }
    }

    /// Forgets a window that its rank no longer holds; late puts into it are dropped.
    func release(window: Int) { withCore { $0.release(window: window) } }

    /// Posts bytes and signal; see `Window.put`.
    func put(_ put: Put) throws(TransportError) {
        var start = 0
        while put.byteCount - start > Self.stretchBytes {
            try post(put.part(start ..< start + Self.stretchBytes))
            start += Self.stretchBytes
        }
        try post(start == 0 ? put : put.part(start ..< put.byteCount))
    }

    /// A core posts a stretch as a whole or not at all, so it must fit into what it has in flight.
    private static let stretchBytes = 64 << 20

    private func post(_ put: Put) throws(TransportError) {
        while true {
            let posting = try withCore { (core) throws(TransportError) in
                let posting = try core.put(put)
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

    /// A waiter will call `poll` until `endPolling`; the engine's own thread keeps out of its way.
    func beginPolling() { pollers.add(1, ordering: .sequentiallyConsistent) }

    /// Makes some progress, unless another thread holds the core.
    func poll() {
        _ = core.withLockIfAvailable { Self.progress($0, atMost: 4) }
    }

    /// Lets the core go on while it finds something to do; true if it did.
    static func progress(_ core: any EngineCore, atMost limit: Int) -> Bool {
        var count = 0
        while count < limit, core.progress() { count += 1 }
        return count > 0
    }

    /// The waiter goes on, or sleeps next and leaves progress to the engine's thread.
    func endPolling(isSleepNext: Bool) {
        lastPolled.store(isSleepNext ? 0 : clock.nanoseconds, ordering: .relaxed)
        pollers.subtract(1, ordering: .sequentiallyConsistent)
        guard isSleepNext else { return }
        if isParked.load(ordering: .sequentiallyConsistent) { wake.ring() }
    }

    /// As long as a wait between nodes polls: a rank that sleeps sooner answers late.
    private static let longestFlushPoll: UInt64 = 200_000

    /// Returns when no posted put needs its staging bytes any more.
    func flush(deadline: Deadline) throws(TransportError) {
        let begin = clock.nanoseconds
        beginPolling()
        while withCore({ $0.outstandingCount }) > 0 {
            let spent = clock.nanoseconds &- begin
            if spent >= flushPollTime { break }
            poll()
            if spent > pollTime { sched_yield() }
        }
        let isFlushed = withCore { $0.outstandingCount } == 0
        endPolling(isSleepNext: !isFlushed)
        if isFlushed { return }
        let control = outside.control
        while true {
            let rings = control.rings
            if withCore({ $0.outstandingCount }) == 0 { return }
            if let loss = outside.lostRanks.ending(waitFor: []) {
                throw .rankLost(loss.rank, phase: deadline.description, cause: loss.cause)
            }
            let remaining = deadline.remainingNanoseconds
            if remaining == 0 { throw deadline.missed(by: nil) }
            control.sleep(since: rings, nanoseconds: min(remaining, 10_000_000))
        }
    }

    /// Gives up on a rank: what is posted to it completes or fails at once.
    func abandon(_ rank: Rank) {
        withCore { $0.abandon(rank) }
        wake.ring()
    }

    /// How long a rank that leaves waits for the others to acknowledge its goodbye.
    private static let goodbyeLimit = Duration.seconds(1)

    /// Says goodbye to all ranks, with the rank because of which this one leaves, and stops.
    func close(suspect: Rank?) {
        let value = SuspectWord.encode(suspect)
        for rank in withCore({ $0.liveRanks }) {
            withCore { $0.say(.goodbye, to: rank, value: value) }
        }
        wake.ring()
        let deadline = Deadline(Self.goodbyeLimit, "goodbye", clock: clock)
        while !deadline.hasPassed, !withCore({ $0.isGoodbyeAcknowledged }) {
            clock.pause(200_000)
        }
        vanish()
    }

    /// Stops without a word, as a killed process does.
    func vanish() {
        guard !isStopping.exchange(true, ordering: .acquiringAndReleasing) else { return }
        wake.ring()
        thread.withLock { $0?.join() }
        withCore { $0.closeAll() }
    }
}
