import Synchronization

/// The events of one HTTP request's texts: one engine request each, merged into one stream.
///
/// ```
///   submitting ──► open ──── the last text ended ──────────────────► ended
///       │          │  ▲ └─── a text failed, `end`, the reader left ────▲
///       │          └──┘ an event of a text; `waiting` after `silence`
///       └─ the router refuses one: those before it are cancelled, and there are no streams
/// ```
///
/// 1. When the streams end, however they end, every engine request has ended or was withdrawn.
final class RequestStreams: Sendable {
    /// What a reader is told.
    enum Event: Sendable {
        /// What happened to one of the texts.
        case text(index: Int, GenerationEvent)
        /// Nothing happened for a while.
        case waiting
    }

    let events: AsyncThrowingStream<Event, any Error>
    private let continuation: AsyncThrowingStream<Event, any Error>.Continuation
    private let progress: Progress

    /// Submits all requests.
    ///
    /// - Parameters:
    ///   - permits: Held until the last text has ended.
    ///   - usage: What is charged for the tokens, as they arrive.
    ///   - silence: After this long without an event the reader is told that it waits.
    /// - Throws: What the router says about the first request that it does not take.
    init(
        _ requests: [GenerationRequest], router: any RequestRouter, permits: [Permit],
        usage: KeyUsage? = nil, silence: Duration
    ) async throws {
        (events, continuation) = AsyncThrowingStream<Event, any Error>.makeStream()
        var streams: [AsyncThrowingStream<GenerationEvent, any Error>] = []
        do {
            for request in requests {
                streams.append(try await router.submit(request))
                // Each is written as JSON: other streams' writers have their turns between.
                await Task.yield()
            }
        } catch {
            for request in requests.prefix(streams.count) { await router.cancel(request.id) }
            throw error
        }
        // The tasks hold no reference to the streams: who drops those ends them (1).
        let (progress, continuation) = (Progress(texts: streams.count), continuation)
        self.progress = progress
        // Cancelling a reader withdraws its request (1).
        continuation.onTermination = { _ in progress.end() }
        var tasks = streams.enumerated().map { index, stream in
            Task {
                var charged = 0
                do {
                    for try await event in stream {
                        progress.moved()
                        charged += Self.charge(event, to: usage, after: charged)
                        continuation.yield(.text(index: index, event))
                    }
                    if progress.textEnded() { continuation.finish() }
                } catch {
                    continuation.finish(throwing: error)
                }
                _ = permits
            }
        }
        tasks.append(
            Task {
                while let (next, isSilent) = progress.check(silence) {
                    if isSilent { continuation.yield(.waiting) }
                    do { try await Task.sleep(until: next, clock: .continuous) } catch { return }
                }
            })
        progress.keep(tasks)
    }

    /// Charges what an event says was generated beyond what was charged before.
    private static func charge(
        _ event: GenerationEvent, to usage: KeyUsage?, after charged: Int
    ) -> Int {
        let count =
            switch event {
            case .tokens(let tokens): tokens.count
            case .finished(_, let cost): max(0, cost.generatedTokens - charged)
            case .began, .failed: 0
            }
        if count > 0 { usage?.charge(tokens: count) }
        return count
    }

    /// Calls `body` once when the streams have ended, at once if they have.
    func onEnd(_ body: @escaping @Sendable () -> Void) { progress.onEnd(body) }

    /// Ends the streams with an error, and withdraws every request that has not ended.
    func end(_ error: any Error) { continuation.finish(throwing: error) }

    /// How far the texts are.
    private final class Progress: Sendable {
        private struct State {
            var textsLeft: Int
            var lastEvent = ContinuousClock.now
            var hasEnded = false
            var tasks: [Task<Void, Never>] = []
            var onEnd: (@Sendable () -> Void)?
        }

        private let state: Mutex<State>

        init(texts: Int) { state = Mutex(State(textsLeft: texts)) }

        func moved() { state.withLock { $0.lastEvent = .now } }

        /// Whether this was the last.
        func textEnded() -> Bool {
            state.withLock { state in
                state.textsLeft -= 1
                return state.textsLeft == 0
            }
        }

        /// When to check again, and whether nothing happened for so long; nil after the end.
        func check(_ silence: Duration) -> (next: ContinuousClock.Instant, isSilent: Bool)? {
            state.withLock { state in
                guard !state.hasEnded else { return nil }
                let now = ContinuousClock.now
                let isSilent = state.lastEvent + silence <= now
                if isSilent { state.lastEvent = now }
                return (state.lastEvent + silence, isSilent)
            }
        }

        /// Keeps what `end` cancels.
        func keep(_ tasks: [Task<Void, Never>]) {
            let hasEnded = state.withLock { state in
                if !state.hasEnded { state.tasks = tasks }
                return state.hasEnded
            }
            if hasEnded { for task in tasks { task.cancel() } }
        }

        func end() {
            let (tasks, body) = state.withLock { state in
                state.hasEnded = true
                defer { (state.tasks, state.onEnd) = ([], nil) }
                return (state.tasks, state.onEnd)
            }
            for task in tasks { task.cancel() }
            body?()
        }

        func onEnd(_ body: @escaping @Sendable () -> Void) {
            let hasEnded = state.withLock { state in
                if !state.hasEnded { state.onEnd = body }
                return state.hasEnded
            }
            if hasEnded { body() }
        }
    }
}
