import Synchronization

/// What operators ask of a server over HTTP, until the process that runs the server acts on it.
final class OperatorRequests: Sendable {
    private struct State {
        /// When texts under way are waited for no longer; nil where nobody asked for a drain.
        var drainEnd: ContinuousClock.Instant?
        /// How urgent the end is by now: 0 not asked for, 1 in order, 2 at once.
        var level = 0
    }

    /// How urgent the end has become, each time that it grows: 1 in order, 2 at once.
    let endRequests: AsyncStream<Int>
    private let continuation: AsyncStream<Int>.Continuation
    private let state = Mutex(State())

    init() {
        // A level only grows, so there are two elements at most.
        (endRequests, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(2))
    }

    /// Asks for the end, as a signal does: who asks again is in a hurry.
    func ask() { raise { $0 + 1 } }

    /// Asks for the end, or for the end at once; to ask the same again changes nothing, and neither
    /// does a drain that is over where a signal has asked before.
    func stop(now: Bool) { raise { max($0, now ? 2 : 1) } }

    private func raise(_ next: (Int) -> Int) {
        state.withLock { state in
            let level = min(2, next(state.level))
            guard level > state.level else { return }
            state.level = level
            continuation.yield(level)
        }
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
    func poll(texts: Int, now: ContinuousClock.Instant = .now) -> Bool {
        let isOver = state.withLock { state in
            state.drainEnd.map { texts == 0 || $0 <= now } ?? false
        }
        if isOver { stop(now: false) }
        return isOver
    }
}
