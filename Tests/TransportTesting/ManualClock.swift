import Foundation
import Synchronization
public import Transport

/// Virtual time that stands until a test moves it.
///
/// swift-nio's `EmbeddedEventLoop.advanceTime(by:)` is the model: time jumps from one moment that a
/// thread waits for to the next, and every thread that is due runs before time goes on. A test of
/// minutes of silence takes milliseconds, and gives the same on a busy machine.
///
/// Safe because every field is touched only under `condition`.
public final class ManualClock: VirtualTime, @unchecked Sendable {
    private let condition = NSCondition()
    private var now: UInt64 = 1_000_000_000_000
    /// Threads that take part.
    private var threadCount = 0
    /// When each waiting thread wants to go on, by the number of its wait.
    private var waits: [Int: UInt64] = [:]
    private var waitCount = 0
    /// Threads that checked their condition since the last change, and still wait.
    private var settledCount = 0
    /// Counts changes and moves of time.
    private var changeCount = 0

    /// A clock at some moment.
    public init() {}

    /// The clock that a `FabricConfiguration` takes.
    public var clock: FabricClock { FabricClock(self) }

    /// The time in nanoseconds.
    public var nanoseconds: UInt64 { condition.withLock { now } }

    /// Announces a thread, before it starts.
    @discardableResult
    public func threadBegins() -> Int {
        condition.withLock {
            threadCount += 1
            return threadCount
        }
    }

    /// Says that an announced thread is at its end.
    public func threadEnds(_ number: Int = 0) {
        condition.withLock {
            threadCount -= 1
            condition.broadcast()
        }
    }

    /// Has every waiting thread check its condition again.
    public func changed() { condition.withLock { checkAgain() } }

    private func checkAgain() {
        changeCount += 1
        settledCount = 0
        condition.broadcast()
    }

    /// Blocks while `isQuiet` holds and until `moment`.
    public func wait(until moment: UInt64, while isQuiet: () -> Bool) {
        condition.lock()
        defer { condition.unlock() }
        let number = waitCount
        waitCount += 1
        waits[number] = moment
        defer { waits[number] = nil }
        while now < moment, isQuiet() {
            settledCount += 1
            precondition(settledCount <= threadCount, "a thread waits that was not announced")
            condition.broadcast()
            let seen = changeCount
            while changeCount == seen { condition.wait() }
        }
    }
}

// MARK: - Moving

extension ManualClock {
    /// Moves time by a duration, from moment to moment, and returns when every thread waits again.
    public func advance(by duration: Duration) {
        condition.lock()
        defer { condition.unlock() }
        let target = now + UInt64(duration / .nanoseconds(1))
        settle { true }
        while now < target {
            now = min(waits.values.min() ?? target, target)
            checkAgain()
            settle { true }
        }
    }

    /// Moves time by a duration at once, as a machine that was suspended finds it.
    public func jump(by duration: Duration) {
        condition.lock()
        defer { condition.unlock() }
        settle { true }
        now += UInt64(duration / .nanoseconds(1))
        checkAgain()
        settle { true }
    }

    /// Runs `body` on threads of this time, with numbers from 0, and moves time whenever all of
    /// them wait, until all have ended.
    public func run(threads count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        let left = Mutex(count)
        for index in 0 ..< count {
            threadBegins()
            Thread.detachNewThread {
                body(index)
                left.withLock { $0 -= 1 }
                self.threadEnds()
            }
        }
        condition.lock()
        defer { condition.unlock() }
        while true {
            settle { left.withLock { $0 } > 0 }
            if left.withLock({ $0 }) == 0 { return }
            guard let next = waits.values.min(), next < .max else {
                preconditionFailure("all threads wait, and none for a moment")
            }
            now = max(now, next)
            checkAgain()
        }
    }

    /// Waits until every thread waits and is not due, or `isNeeded` no longer holds.
    private func settle(while isNeeded: () -> Bool) {
        let limit = Date(timeIntervalSinceNow: Self.patience)
        while settledCount < threadCount, isNeeded() {
            guard condition.wait(until: limit) else {
                preconditionFailure(
                    "\(settledCount) of \(threadCount) threads wait after \(Self.patience) s")
            }
        }
    }

    /// Seconds in which a thread that runs must come to a wait, on the machine's clock.
    private static let patience = 60.0
}
