internal import Topology
internal import Transport

/// Where the time of a dispatch or of a combine goes, in nanoseconds of the fabric's clock.
struct ExchangeClock {
    private let time: FabricClock
    /// When this rank began.
    private(set) var began: UInt64 = 0
    /// When the last rank of this node began, as far as this rank knows.
    private(set) var lastBegin: UInt64 = 0
    /// When this rank first saw that everything of this half is here; 0 before.
    private(set) var arrivedAt: UInt64 = 0
    /// The waits of this half, each from its begin to its end, and their sum.
    private(set) var waits: [Range<UInt64>] = []
    private(set) var exposed: UInt64 = 0
    /// The rank whose signal ended the last of these waits.
    private(set) var lastAwaited: Rank?

    init(_ time: FabricClock) { self.time = time }

    /// The time now.
    var now: UInt64 { time.nanoseconds }

    /// Begins a half: nothing was waited for yet.
    mutating func begin() {
        began = now
        lastBegin = began
        arrivedAt = 0
        exposed = 0
        lastAwaited = nil
        waits.removeAll(keepingCapacity: true)
    }

    /// Notes when another rank of this node began.
    mutating func noteBegin(_ time: UInt64) { lastBegin = max(lastBegin, time) }

    /// Notes a wait for a rank's signal that began at `start` and ends now.
    mutating func noteWait(since start: UInt64, for rank: Rank) {
        let end = now
        exposed += end - start
        waits.append(start ..< end)
        lastAwaited = rank
    }

    /// Notes that everything is here, if that was not seen before.
    mutating func noteArrival() { if arrivedAt == 0 { arrivedAt = now } }
}
