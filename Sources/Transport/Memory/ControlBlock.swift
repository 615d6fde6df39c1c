import CFabric
import Topology

/// One page per rank that every rank of its node maps: doorbell, heartbeat, state.
///
/// Invariants:
/// 1. The doorbell's count grows after a signal is stored. So a thread that reads the count, then
///    the signals, may sleep on that count without missing a signal.
/// 2. Only the owner writes the heartbeat and the state.
@safe struct ControlBlock: Sendable {
    /// Whether a rank still takes part.
    enum State: UInt32 {
        case running = 1
        case left = 2
    }

    let region: Region
    private let clock: FabricClock

    init(_ region: Region, clock: FabricClock) {
        self.region = region
        self.clock = clock
    }

    static let byteCount = 4096

    private func word32(_ offset: Int) -> UnsafeMutablePointer<UInt32> {
        unsafe (region.base + offset).assumingMemoryBound(to: UInt32.self)
    }

    /// Apart by a cache line each, since different ranks write them.
    private var doorbell: UnsafeMutablePointer<UInt32> { unsafe word32(0) }
    private var sleepers: UnsafeMutablePointer<UInt32> { unsafe word32(64) }
    private var stateWord: UnsafeMutablePointer<UInt32> { unsafe word32(192) }
    private var suspectAddress: UnsafeMutablePointer<UInt32> { unsafe word32(256) }
    private var heartbeatWord: UnsafeMutablePointer<UInt64> {
        unsafe (region.base + 128).assumingMemoryBound(to: UInt64.self)
    }

    /// How often the doorbell rang.
    var rings: UInt32 { unsafe fabric_load32(doorbell) }

    /// Tells the owner that something arrived; a system call only if it sleeps.
    func ring() {
        _ = unsafe fabric_add32(doorbell, 1)
        if unsafe fabric_load32(sleepers) != 0 {
            unsafe fabric_futex_wake(doorbell)
            clock.changed()
        }
    }

    /// Sleeps until the doorbell has rung more than `rings` times, or the time is over.
    func sleep(since rings: UInt32, nanoseconds: UInt64) {
        _ = unsafe fabric_add32(sleepers, 1)
        unsafe clock.wait(while: doorbell, is: rings, atMost: nanoseconds)
        _ = unsafe fabric_add32(sleepers, -1)
    }

    /// The owner's last sign of life, on the fabric's clock.
    var heartbeat: UInt64 { unsafe fabric_load(heartbeatWord) }

    func beat(at now: UInt64) { unsafe fabric_store(heartbeatWord, now) }

    var state: State? { State(rawValue: unsafe fabric_load32(stateWord)) }

    /// The rank because of which the owner left, as a `SuspectWord`.
    var suspectWord: UInt64 { UInt64(unsafe fabric_load32(suspectAddress)) }

    func set(suspectWord: UInt64) {
        unsafe fabric_store32(suspectAddress, UInt32(clamping: suspectWord))
    }

    func set(_ state: State) { unsafe fabric_store32(stateWord, state.rawValue) }
}
