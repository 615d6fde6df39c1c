import CFabric
import Glibc
public import Topology

/// A signal of this rank, and what it must have become.
public struct SignalCondition: Hashable, Sendable {
    /// Which signal of this rank's window.
    public var signal: Int
    /// The least value that satisfies the wait.
    public var atLeast: UInt64
    /// The rank that will set it, named when it does not.
    public var source: Rank

    /// A condition on one signal.
    public init(signal: Int, atLeast: UInt64, source: Rank) {
        self.signal = signal
        self.atLeast = atLeast
        self.source = source
    }
}

extension Window {
    /// Returns when a signal has reached a value, with what it is now.
    ///
    /// Polls briefly, then sleeps on the rank's doorbell.
    ///
    /// - Parameter polling: The least time to poll, where the fabric polls at all: for a wait that
    ///   is shorter than that as a rule, and of which another rank waits for the end.
    /// - Throws: `rankLost` when `source`, or any rank that is not masked, is lost; `deadline`.
    @discardableResult
    public func wait(
        signal: Int, atLeast value: UInt64, from source: Rank, deadline: Deadline,
        polling: Duration = .zero
    ) throws(TransportError) -> UInt64 {
        let now = memory.signal(signal)
        if now >= value { return now }
        let condition = SignalCondition(signal: signal, atLeast: value, source: source)
        _ = try waitAny([condition], deadline: deadline, polling: polling)
        return memory.signal(signal)
    }

    /// Returns the index of a condition that holds; the first such when several do.
    ///
    /// - Precondition: there is at least one condition.
    public func waitAny(
        _ conditions: [SignalCondition], deadline: Deadline, polling: Duration = .zero
    ) throws(TransportError) -> Int {
        precondition(!conditions.isEmpty, "a wait for no signal")
        precondition(
            deadline.clock.isSame(as: fabric.clock),
            "a deadline of another clock: \(deadline.phase)")
        if let index = firstSatisfied(conditions) { return index }
        if let index = poll(conditions, atLeast: polling) { return index }
        while true {
            let rings = fabric.control.rings
            if let index = firstSatisfied(conditions) { return index }
            if let loss = fabric.loss(awaiting: conditions, deadline: deadline) {
                // What a rank sent before it left still counts.
                if let index = firstSatisfied(conditions) { return index }
                throw loss
            }
            let remaining = deadline.remainingNanoseconds
            if remaining == 0 {
                fabric.lost.addSuspect(conditions[0].source)
                throw deadline.missed(by: fabric.lost.name(conditions[0].source))
            }
            fabric.control.sleep(since: rings, nanoseconds: min(remaining, Self.longestSleep))
        }
    }

    /// Polls for a short time before a sleep is worth its cost, and moves the engine meanwhile:
    /// no thread is then woken between the network and this wait.
    private func poll(_ conditions: [SignalCondition], atLeast least: Duration) -> Int? {
        let clock = fabric.clock
        let begin = clock.nanoseconds
        let usual = fabric.pollNanoseconds
        // A fabric in virtual time, or one that was told not to, never polls.
        let end = begin &+ (usual > 0 ? max(usual, least.wholeNanoseconds) : 0)
        let engine = fabric.engine
        var now = begin
        engine?.beginPolling()
        repeat {
            for _ in 0 ..< 16 {
                if let index = firstSatisfied(conditions) {
                    engine?.endPolling(isSleepNext: false)
                    return index
                }
                fabric_pause()
            }
            engine?.poll()
            now = clock.nanoseconds
            // After the usual time of a store, another thread may have the processor core.
            if now &- begin > fabric.exclusivePollNanoseconds { sched_yield() }
        } while now < end
        engine?.endPolling(isSleepNext: true)
        return nil
    }

    /// Bounds what a wake-up lost to a dying writer (signal stored, doorbell not rung) can cost.
    private static let longestSleep: UInt64 = 100_000_000

    @inline(__always)
    private func firstSatisfied(_ conditions: [SignalCondition]) -> Int? {
        for index in conditions.indices
        where memory.signal(conditions[index].signal) >= conditions[index].atLeast {
            return index
        }
        return nil
    }
}
