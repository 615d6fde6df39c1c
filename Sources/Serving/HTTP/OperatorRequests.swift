import Synchronization

/// What operators ask of a server over HTTP, until the process that runs the server acts on it.
final class OperatorRequests: Sendable {
    private struct State {
        /// When texts under way are waited for no longer; nil where nobody asked for a drain.
        var drainEnd: ContinuousClock.Instant?
        /// How often operators asked for the end.
        var stops = 0
    }

    /// One element for each time that the server is asked to end.
    let endRequests: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    private let state = Mutex(State())

    init() {
        // Who asks twice is in a hurry; further requests say nothing new.
        (endRequests, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(2))
    }

    /// Asks for the end, as a signal does.
    func ask() { continuation.yield() }

    /// Asks for the end, or for the end at once; to ask the same again changes nothing.
    func stop(now: Bool) {
        let count = state.withLock { state in
            let count = max(0, (now ? 2 : 1) - state.stops)
            state.stops += count
            return count
        }
        for _ in 0 ..< count { ask() }
    }

    /// Asks for the end once no text is under way.
    ///
    /// - Parameters:
    ///   - seconds: After which the end comes all the same; nil keeps what was asked before.
    ///   - otherwise: Where nothing was asked before.
    func drain(within seconds: Int?, otherwise: Int, now: ContinuousClock.Instant) {
        state.withLock { state in
            if let seconds {
                state.drainEnd = now + .seconds(seconds)
            } else if state.drainEnd == nil {
                state.drainEnd = now + .seconds(otherwise)
            }
        }
    }

    /// Asks for the end when a drain is over; called about once a second.
    ///
    /// - Returns: Whether it is.
    @discardableResult
    func look(texts: Int, now: ContinuousClock.Instant = .now) -> Bool {
        let isOver = state.withLock { state in
            state.drainEnd.map { texts == 0 || $0 <= now } ?? false
        }
        if isOver { stop(now: false) }
        return isOver
    }
}
