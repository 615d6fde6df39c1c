import Dispatch
import Foundation
import Glibc
import Synchronization

/// Runs what takes long, one piece after another, on a thread of its own: neither the threads that
/// write streams nor the event loops wait for it.
///
/// Addresses take turns, so one that asks much delays itself.
final class WorkLane: Sendable {
    private struct Queue {
        var waiting: [String: [@Sendable () -> Void]] = [:]
        /// Addresses with something that waits, the next one first.
        var turns: [String] = []
        var hasStarted = false
        var hasEnded = false

        mutating func add(_ work: @escaping @Sendable () -> Void, for address: String) {
            if waiting[address] == nil { turns.append(address) }
            waiting[address, default: []].append(work)
        }

        mutating func next() -> (@Sendable () -> Void)? {
            guard !turns.isEmpty else { return nil }
            let address = turns.removeFirst()
            let work = waiting[address]?.removeFirst()
            if waiting[address]?.isEmpty == false {
                turns.append(address)
            } else {
                waiting[address] = nil
            }
            return work
        }
    }

    /// What the thread and the lane share.
    private final class Shared: Sendable {
        let queue = Mutex(Queue())
        let arrivals = DispatchSemaphore(value: 0)
    }

    private let name: String
    private let niceness: Int32
    private let shared = Shared()

    /// - Parameter niceness: How far the thread steps back for others that compute.
    init(_ name: String, niceness: Int32) {
        self.name = name
        self.niceness = niceness
    }

    deinit {
        shared.queue.withLock { $0.hasEnded = true }
        shared.arrivals.signal()
    }

    /// Works that wait for their turn.
    var waitingCount: Int {
        shared.queue.withLock { queue in queue.waiting.values.reduce(0) { $0 + $1.count } }
    }

    /// Runs `work` when its turn comes.
    func run<Value: Sendable>(
        for address: String, _ work: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let starts = shared.queue.withLock { queue in
                queue.add({ continuation.resume(with: Result(catching: work)) }, for: address)
                defer { queue.hasStarted = true }
                return !queue.hasStarted
            }
            if starts { start() }
            shared.arrivals.signal()
        }
    }

    private func start() {
        let (shared, niceness) = (shared, niceness)
        let thread = Thread {
            // Only this thread: Linux counts a thread as a process here.
            if niceness > 0 {
                setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, niceness)
            }
            while true {
                shared.arrivals.wait()
                let (work, isOver) = shared.queue.withLock { ($0.next(), $0.hasEnded) }
                if let work { work() } else if isOver { return }
            }
        }
        thread.name = name
        // JSON of 64 levels and schemas are walked by recursion, as on a main thread.
        thread.stackSize = 8 << 20
        thread.start()
    }
}
