import CFabric
import Glibc
import Synchronization

// The progress thread.

extension ProgressEngine {
    func run() {
        let beat = max(silenceLimit.wholeNanoseconds / 8, 10_000_000)
        var nextBeat = clock.nanoseconds
        var idleSince = nextBeat
        var limit = SilenceLimit(silenceLimit, now: nextBeat)
        while !isStopping.load(ordering: .acquiring) {
            let now = clock.nanoseconds
            limit.turn(at: now)
            if now >= nextBeat {
                nextBeat = now + beat
                core.withLock { $0.beat(limit: limit, at: now) }
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
        core.withLock { core in
            defer { core.closeFailed() }
            return Self.progress(core, atMost: 8)
        }
    }

    private func letCallersIn() {
        guard callers.load(ordering: .relaxed) > 0 else { return fabric_pause() }
        for _ in 0 ..< 200 where callers.load(ordering: .relaxed) > 0 { fabric_pause() }
    }

    /// Sleeps until the core, a caller or the next heartbeat wants something.
    private func sleep(until nextBeat: UInt64) {
        isSleeping.store(true, ordering: .sequentiallyConsistent)
        defer { isSleeping.store(false, ordering: .sequentiallyConsistent) }
        let armed = core.withLock { $0.arm() ? $0.eventDescriptors : nil }
        guard let armed, !isStopping.load(ordering: .acquiring) else { return }
        var entries = ([wake.descriptor] + armed).map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        guard clock.wait(for: &entries, until: nextBeat) else { return }
        if entries[0].revents != 0 { wake.clear() }
    }
}
