import CFabric
import Glibc

/// The time that a fabric lives in: the machine's monotonic clock, or virtual time.
///
/// Deadlines, waits, heartbeats and records read one clock, which `FabricConfiguration` hands to
/// the fabric. So a test, or a simulated fabric, decides when time passes.
///
/// The clock is a value and not a protocol: a wait that polls reads the machine's clock by a direct
/// call, and virtual time costs it one branch.
public struct FabricClock: Sendable {
    /// nil stands for the machine's clock.
    let time: (any VirtualTime)?

    /// The machine's monotonic clock, which all processes of one kernel share.
    public static let system = FabricClock(time: nil)

    /// A clock that shows virtual time.
    package init(_ time: any VirtualTime) { self.time = time }

    private init(time: (any VirtualTime)?) { self.time = time }

    /// The time in nanoseconds, from a moment that means nothing.
    @inline(__always)
    public var nanoseconds: UInt64 {
        if let time { return time.nanoseconds }
        return fabric_now()
    }

    /// Whether time stands while a thread polls, so that polling can only waste it.
    var isVirtual: Bool { time != nil }

    /// Whether both clocks show the same time.
    func isSame(as other: FabricClock) -> Bool { time === other.time }
}

// MARK: - Waiting

extension FabricClock {
    /// Sleeps while the word is `expected`, at most for a time.
    ///
    /// A thread that changes the word wakes its futex, then calls `changed`.
    func wait(while word: UnsafePointer<UInt32>, is expected: UInt32, atMost limit: UInt64) {
        guard let time else { return unsafe fabric_futex_wait(word, expected, limit) }
        time.wait(until: time.nanoseconds &+ limit) { unsafe fabric_load32(word) == expected }
    }

    /// Sleeps until a descriptor has an event, or until the moment; says whether one has.
    func wait(for entries: inout [pollfd], until moment: UInt64) -> Bool {
        guard let time else {
            let now = fabric_now()
            let left = moment > now ? (moment - now) / 1_000_000 + 1 : 1
            return unsafe poll(&entries, nfds_t(entries.count), Int32(clamping: left)) > 0
        }
        time.wait(until: moment) { unsafe poll(&entries, nfds_t(entries.count), 0) <= 0 }
        return unsafe poll(&entries, nfds_t(entries.count), 0) > 0
    }

    /// Sleeps while `isQuiet` holds, at most until the moment; may return early.
    ///
    /// - Parameter interval: How soon the machine's clock lets the caller poll again, at the
    ///   latest. In virtual time, the thread that ends the quiet calls `changed`.
    func wait(until moment: UInt64, every interval: UInt64, while isQuiet: () -> Bool) {
        guard let time else {
            usleep(UInt32(clamping: interval / 1000))
            return
        }
        time.wait(until: moment, while: isQuiet)
    }

    /// Lets other threads go on for a time; zero gives up the core once.
    func pause(_ nanoseconds: UInt64 = 0) {
        guard let time else {
            if nanoseconds == 0 { sched_yield() } else { usleep(UInt32(nanoseconds / 1000)) }
            return
        }
        // Virtual time passes only while threads wait.
        time.wait(until: time.nanoseconds &+ max(nanoseconds, Self.shortestPause)) { true }
    }

    private static let shortestPause: UInt64 = 1000

    /// Has waiting threads check again what they wait for.
    func changed() { time?.changed() }
}
