import Synchronization

/// The streams of requests under way, and where each request went.
final class EventStreams: Sendable {
    private struct Entry {
        let continuation: AsyncThrowingStream<GenerationEvent, any Error>.Continuation
        let rank: Int
    }

    private let entries = Mutex<[RequestID: Entry]>([:])

    /// A stream for a request.
    ///
    /// `withdraw` is called if its reader goes away first.
    ///
    /// A stream holds at most one event per token of its request, which bounds it.
    func open(
        _ id: RequestID, rank: Int, withdraw: @escaping @Sendable () -> Void
    ) -> AsyncThrowingStream<GenerationEvent, any Error> {
        let (stream, continuation) = AsyncThrowingStream<GenerationEvent, any Error>.makeStream()
        entries.withLock { $0[id] = Entry(continuation: continuation, rank: rank) }
        continuation.onTermination = { [weak self] reason in
            guard case .cancelled = reason else { return }
            _ = self?.close(id)
            withdraw()
        }
        return stream
    }

    /// Passes an event on.
    ///
    /// The last one closes the stream.
    func deliver(_ report: EngineReport) {
        switch report.event {
        case .finished:
            let entry = close(report.id)
            entry?.yield(report.event)
            entry?.finish()
        case .failed(let error): close(report.id)?.finish(throwing: error)
        case .began, .tokens:
            entries.withLock { $0[report.id]?.continuation }?.yield(report.event)
        }
    }

    /// Ends the streams of one rank with an error.
    func fail(rank: Int, _ error: ServingError) {
        let lost = entries.withLock { entries in
            let lost = entries.filter { $0.value.rank == rank }
            for id in lost.keys { entries[id] = nil }
            return lost.values.map(\.continuation)
        }
        for continuation in lost { continuation.finish(throwing: error) }
    }

    /// Requests under way at each rank.
    func load(rankCount: Int) -> [Int] {
        entries.withLock { entries in
            var load = Array(repeating: 0, count: rankCount)
            for entry in entries.values { load[entry.rank] += 1 }
            return load
        }
    }

    func rank(of id: RequestID) -> Int? { entries.withLock { $0[id]?.rank } }

    private func close(
        _ id: RequestID
    ) -> AsyncThrowingStream<GenerationEvent, any Error>.Continuation? {
        entries.withLock { $0.removeValue(forKey: id)?.continuation }
    }
}
