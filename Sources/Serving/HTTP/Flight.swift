import Synchronization

/// The texts of one HTTP request while they are generated: one engine request each.
///
/// 1. When a flight ends, however it ends, every engine request of it has ended or was withdrawn.
struct Flight: Sendable {
    /// Which of the texts, and what happened to it.
    struct Event: Sendable {
        let index: Int
        let event: GenerationEvent
    }

    let events: AsyncThrowingStream<Event, any Error>
    private let continuation: AsyncThrowingStream<Event, any Error>.Continuation

    /// Sends all requests off.
    ///
    /// Throws what the router says about the first that it does not take.
    init(_ requests: [GenerationRequest], router: any RequestRouter, seat: Seat) async throws {
        (events, continuation) = AsyncThrowingStream<Event, any Error>.makeStream()
        var streams: [AsyncThrowingStream<GenerationEvent, any Error>] = []
        do {
            for request in requests { streams.append(try await router.submit(request)) }
        } catch {
            for request in requests.prefix(streams.count) { await router.cancel(request.id) }
            throw error
        }
        let continuation = continuation
        let left = LeftCount(streams.count)
        let tasks = streams.enumerated().map { index, stream in
            Task {
                do {
                    for try await event in stream {
                        continuation.yield(Event(index: index, event: event))
                    }
                    if left.decrement() { continuation.finish() }
                } catch {
                    continuation.finish(throwing: error)
                }
                _ = seat
            }
        }
        // Cancelling a reader withdraws its request (1).
        continuation.onTermination = { _ in for task in tasks { task.cancel() } }
    }

    /// Ends the flight early.
    func abandon() { continuation.finish(throwing: CancellationError()) }

    private final class LeftCount: Sendable {
        private let count: Mutex<Int>
        init(_ count: Int) { self.count = Mutex(count) }
        /// Whether this was the last.
        func decrement() -> Bool {
            count.withLock {
                $0 -= 1
                return $0 == 0
            }
        }
    }
}

/// Counts texts under way, and refuses more than a limit.
final class SeatCounter: Sendable {
    private let taken = Mutex(0)
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    var count: Int { taken.withLock { $0 } }

    /// Takes places that are free again when the seat is dropped.
    func take(_ count: Int) throws(APIError) -> Seat {
        guard count <= limit else {
            throw .invalid(
                "the request asks for \(count) texts: at most \(limit) are under way at once",
                parameter: "n")
        }
        let isFree = taken.withLock { taken in
            guard taken + count <= limit else { return false }
            taken += count
            return true
        }
        guard isFree else {
            throw APIError(
                status: 429, message: "\(self.count) texts are under way: the limit is \(limit)",
                type: "rate_limit_error", code: "overloaded", retryAfterSeconds: 1)
        }
        return Seat(self, count)
    }

    fileprivate func give(_ count: Int) { taken.withLock { $0 -= count } }
}

/// Places of a request's texts.
final class Seat: Sendable {
    private let counter: SeatCounter
    private let count: Int

    fileprivate init(_ counter: SeatCounter, _ count: Int) {
        self.counter = counter
        self.count = count
    }

    deinit { counter.give(count) }
}
