import Synchronization

/// The events of one HTTP request's texts: one engine request each, merged into one stream.
///
/// 1. When the streams end, however they end, every engine request has ended or was withdrawn.
struct RequestStreams: Sendable {
    /// Which of the texts, and what happened to it.
    struct Event: Sendable {
        let index: Int
        let event: GenerationEvent
    }

    let events: AsyncThrowingStream<Event, any Error>
    private let continuation: AsyncThrowingStream<Event, any Error>.Continuation

    /// Submits all requests.
    ///
    /// - Parameter permit: Held until the last text has ended.
    /// - Throws: What the router says about the first request that it does not take.
    init(
        _ requests: [GenerationRequest], router: any RequestRouter, permit: Permit
    ) async throws {
        (events, continuation) = AsyncThrowingStream<Event, any Error>.makeStream()
        var streams: [AsyncThrowingStream<GenerationEvent, any Error>] = []
        do {
            for request in requests { streams.append(try await router.submit(request)) }
        } catch {
            for request in requests.prefix(streams.count) { await router.cancel(request.id) }
            throw error
        }
        let continuation = continuation
        let left = Countdown(streams.count)
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
                _ = permit
            }
        }
        // Cancelling a reader withdraws its request (1).
        continuation.onTermination = { _ in for task in tasks { task.cancel() } }
    }

    /// Withdraws every request that has not ended.
    func cancel() { continuation.finish(throwing: CancellationError()) }

    private final class Countdown: Sendable {
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
