import Synchronization
import Testing
import Topology

@testable import Transport

/// Time in which threads take turns.
@Suite struct SimulatedTimeTests {
    /// Runs threads that each sleep several times; returns who woke when, in order.
    private static func history(seed: UInt64) throws -> [String] {
        let time = SimulatedTime { ($0 &+ seed) &* 0x9e37_79b9_7f4a_7c15 >> 33 }
        let log = Mutex<[String]>([])
        let threads = try (0 ..< 4).map { number in
            try FabricThread("sleeper", clock: time.clock) {
                for step in 1 ... 5 {
                    let moment = time.nanoseconds + UInt64(step * 100)
                    time.wait(until: moment) { true }
                    let passed = time.nanoseconds - SimulatedTime.begin
                    log.withLock { $0.append("\(number) at \(passed)") }
                }
            }
        }
        for thread in threads { thread.join() }
        return log.withLock { $0 }
    }

    @Test func `one seed has one history, and moments are exact`() throws {
        let first = try Self.history(seed: 1)
        #expect(first.count == 20)
        #expect(first == (try Self.history(seed: 1)))
        #expect(first.suffix(4).allSatisfy { $0.hasSuffix("at 1500") })
    }

    @Test func `another seed has another order of threads`() throws {
        let orders = try Set((0 ..< 8).map { try Self.history(seed: $0) })
        #expect(orders.count > 1)
    }

    @Test func `a change wakes the thread that waits for it, before time moves`() throws {
        let time = SimulatedTime { $0 }
        let flag = Atomic<Bool>(false)
        let seen = Atomic<UInt64>(0)
        let waiter = try FabricThread("waiter", clock: time.clock) {
            time.wait(until: .max) { !flag.load(ordering: .relaxed) }
            seen.store(time.nanoseconds, ordering: .relaxed)
        }
        let setter = try FabricThread("setter", clock: time.clock) {
            time.wait(until: time.nanoseconds + 700) { true }
            flag.store(true, ordering: .relaxed)
            time.changed()
            time.wait(until: time.nanoseconds + 700) { true }
        }
        waiter.join()
        setter.join()
        #expect(seen.load(ordering: .relaxed) == SimulatedTime.begin + 700)
    }
}
