/// How far another machine's clock is ahead of ours, by one question and its answer.
///
/// The answer was written somewhere between the two moments at which the question left and the
/// answer came, so half the round trip bounds the error.
///
/// Source: Cristian, "Probabilistic clock synchronization", 1989.
struct ClockReading: Hashable, Sendable {
    /// The middle of the round trip, in nanoseconds of our clock.
    let at: UInt64
    /// Their clock less ours, in nanoseconds.
    let offset: Int64
    /// The most by which `offset` may be wrong, in nanoseconds.
    let bound: UInt64

    /// - Parameters:
    ///   - sent: When we asked, on our clock.
    ///   - received: When the answer came; as early as `sent` at least.
    ///   - theirs: What their clock showed between; any number, as they may send any.
    init(sent: UInt64, received: UInt64, theirs: UInt64) {
        let received = max(sent, received)
        at = sent + (received - sent) / 2
        offset = Int64(clamping: theirs) &- Int64(clamping: at)
        bound = (received - sent + 1) / 2
    }

    /// The reading with the shortest round trip.
    static func best(of readings: [ClockReading]) -> ClockReading? {
        readings.min { $0.bound < $1.bound }
    }
}

/// Another machine's clock on ours, by a reading before a trace and one after it: clocks drift, by
/// some milliseconds in a minute.
struct ClockFit: Hashable, Sendable {
    let first: ClockReading
    let last: ClockReading

    /// The most by which a time may be wrong, in nanoseconds, where the clock drifts evenly.
    var bound: UInt64 { max(first.bound, last.bound) }

    /// Our time at one of theirs, in nanoseconds; meaningless, but no trap, for one that no clock
    /// of theirs showed.
    func ours(_ theirs: UInt64) -> Int64 {
        let theirs = Int64(clamping: theirs)
        let begin = Int64(clamping: first.at) &+ first.offset
        let length = Double(last.at) - Double(first.at)
        let place = length > 0 ? Double(theirs &- begin) / length : 0
        let drift = Double(last.offset &- first.offset) * min(1, max(0, place))
        return theirs &- first.offset &- (Int64(exactly: drift.rounded()) ?? 0)
    }
}
