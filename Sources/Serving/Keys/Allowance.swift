import Encoding

/// What may be used in a minute: it fills evenly, and holds what one minute brings.
///
/// It may be overdrawn, because what a request costs is known when it is over. What was overdrawn
/// is filled first, so that over many minutes nobody uses more than the rate.
struct Allowance: Sendable {
    private(set) var perMinute: Int
    private var amount: Double
    private var time: ContinuousClock.Instant

    /// A full one.
    init(perMinute: Int, now: ContinuousClock.Instant) {
        self.perMinute = perMinute
        amount = Double(perMinute)
        time = now
    }

    /// What is left; negative where it is overdrawn.
    func left(at now: ContinuousClock.Instant) -> Double {
        let filled = max(0, (now - time).seconds) * Double(perMinute) / 60
        return min(Double(perMinute), amount + filled)
    }

    /// Takes so many; a negative count gives them back.
    mutating func take(_ count: Int, at now: ContinuousClock.Instant) {
        amount = left(at: now) - Double(count)
        time = max(time, now)
    }

    /// Seconds until one can be taken; 0 when it can.
    func secondsUntilOne(at now: ContinuousClock.Instant) -> Double { seconds(until: 1, now) }

    /// Seconds until it is full.
    func secondsUntilFull(at now: ContinuousClock.Instant) -> Double {
        seconds(until: Double(perMinute), now)
    }

    private func seconds(until wanted: Double, _ now: ContinuousClock.Instant) -> Double {
        max(0, wanted - left(at: now)) * 60 / Double(perMinute)
    }

    /// Takes another rate, and keeps what is left within it.
    mutating func change(perMinute: Int, at now: ContinuousClock.Instant) {
        amount = min(left(at: now), Double(perMinute))
        time = max(time, now)
        self.perMinute = perMinute
    }
}
