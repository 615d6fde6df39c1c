/// Says when the silence of a rank has lasted too long.
///
/// A rank that could not run itself judges nobody: after a gap of its own it gives every other rank
/// a full limit more, because the messages of the others may lie unread.
struct SilenceLimit: Sendable {
    /// How long a rank may be silent, in nanoseconds.
    let nanoseconds: UInt64
    private var lastTurn: UInt64
    private var trustedSince: UInt64

    /// A limit of a judge that begins to judge now.
    init(_ limit: Duration, now: UInt64) {
        nanoseconds = limit.wholeNanoseconds
        lastTurn = now
        trustedSince = now
    }

    /// Takes note that the judge runs.
    mutating func turn(at now: UInt64) {
        if now &- lastTurn > nanoseconds / 2 { trustedSince = now }
        lastTurn = now
    }

    /// Whether a rank that was last heard at a moment is silent for too long.
    func isExceeded(lastHeard: UInt64, at now: UInt64) -> Bool {
        let last = max(lastHeard, trustedSince)
        return now > last && now - last > nanoseconds
    }

    /// The limit as a cause of loss names it.
    var description: String { "\(Duration.nanoseconds(Int64(nanoseconds)))" }
}
