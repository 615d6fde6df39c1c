import Topology

/// The moment a wait must have ended, and what is waited for.
///
/// Every wait takes a deadline; an error that the wait causes names the deadline's phase.
public struct Deadline: Sendable {
    /// What happens meanwhile, as a message names it: `dispatch`.
    public let phase: StaticString
    /// Which of several, if there are several: `dispatch of layer 40`.
    public let layer: Int?
    /// How long the whole phase may take.
    public let limit: Duration
    /// The clock that the moment is read from.
    let clock: FabricClock
    /// The moment, in nanoseconds of the clock.
    let nanoseconds: UInt64

    /// A deadline `limit` from now.
    ///
    /// A wait of a fabric takes a deadline of the fabric's own clock: see `Fabric.deadline`.
    public init(
        _ limit: Duration, _ phase: StaticString, layer: Int? = nil, clock: FabricClock = .system
    ) {
        self.limit = limit
        self.phase = phase
        self.layer = layer
        self.clock = clock
        nanoseconds = clock.nanoseconds &+ limit.wholeNanoseconds
    }

    /// Whether the moment has passed.
    package var hasPassed: Bool { clock.nanoseconds >= nanoseconds }

    /// The time that is left, never negative.
    public var remaining: Duration { .nanoseconds(Int64(clamping: remainingNanoseconds)) }

    var remainingNanoseconds: UInt64 {
        let now = clock.nanoseconds
        return now >= nanoseconds ? 0 : nanoseconds - now
    }

    /// The same moment under another phase, for a step inside a larger wait.
    public func named(_ phase: StaticString) -> Deadline { Deadline(self, phase) }

    /// A later moment under the same name and limit, for a caller that waits for another's verdict.
    func later(by patience: Duration) -> Deadline {
        Deadline(self, phase, patience: patience.wholeNanoseconds)
    }

    private init(_ other: Deadline, _ phase: StaticString, patience: UInt64 = 0) {
        self.phase = phase
        layer = other.layer
        limit = other.limit
        clock = other.clock
        nanoseconds = other.nanoseconds &+ patience
    }

    /// The phase as an error names it.
    public var description: String { layer.map { "\(phase) of layer \($0)" } ?? "\(phase)" }

    func missed(by rank: Rank?) -> TransportError {
        .deadline(rank, phase: description, limit: limit)
    }
}

extension Duration {
    /// Nanoseconds, at least 0 and at most about 292 years.
    var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        guard seconds < 9_000_000_000 else { return UInt64(Int64.max) }
        return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds) / 1_000_000_000
    }
}
