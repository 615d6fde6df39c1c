import Synchronization

/// The streams of requests under way, where each request is, and what was told of it.
final class EventStreams: Sendable {
    private struct Entry {
        let continuation: AsyncThrowingStream<GenerationEvent, any Error>.Continuation
        var rank: Int
        /// As it would be sent to another rank now.
        var request: GenerationRequest
        var told = Resumption()

        var text: TextDealer.Text { TextDealer.Text(request, told: told) }
    }

    private let entries = Mutex<[RequestID: Entry]>([:])

    /// A stream for a request.
    ///
    /// `withdraw` is called, with the rank that has the request then, if its reader goes away
    /// first.
    ///
    /// A stream holds at most one event per token of its request, which bounds it.
    func open(
        _ request: GenerationRequest, rank: Int, withdraw: @escaping @Sendable (Int) -> Void
    ) -> AsyncThrowingStream<GenerationEvent, any Error> {
        let (stream, continuation) = AsyncThrowingStream<GenerationEvent, any Error>.makeStream()
        let id = request.id
        entries.withLock {
            $0[id] = Entry(continuation: continuation, rank: rank, request: request)
        }
        continuation.onTermination = { [weak self] reason in
            guard case .cancelled = reason, let entry = self?.close(id) else { return }
            withdraw(entry.rank)
        }
        return stream
    }

    /// Passes an event on, if it comes from the rank that has the request.
    ///
    /// The last one closes the stream. Events and `move` come from one thread, so that no event of
    /// a rank that is lost follows one of the next.
    ///
    /// - Returns: Whether it ended its request.
    @discardableResult
    func deliver(_ report: EngineReport, from rank: Int) -> Bool {
        switch report.event {
        case .finished:
            let entry = close(report.id, of: rank)
            entry?.continuation.yield(report.event)
            entry?.continuation.finish()
            return entry != nil
        case .failed(let error):
            let entry = close(report.id, of: rank)
            entry?.continuation.finish(throwing: error)
            return entry != nil
        case .began, .tokens:
            let continuation = entries.withLock { entries in
                guard entries[report.id]?.rank == rank else {
                    return nil as AsyncThrowingStream<GenerationEvent, any Error>.Continuation?
                }
                entries[report.id]?.told.add(report.event)
                return entries[report.id]?.continuation
            }
            // Not under the lock: a reader that is cancelled meanwhile closes its entry while it
            // holds what `yield` needs.
            continuation?.yield(report.event)
            return false
        }
    }

    /// Gives the requests of a lost rank to others.
    ///
    /// - Parameter candidates: The ranks that may get one, told how many requests each has.
    /// - Returns: What to send, and where, the oldest request first. Requests for which there is no
    ///   rank fail with `error`.
    func move(
        from rank: Int, rankCount: Int, error: ServingError, candidates: ([Int]) -> [Int]
    ) -> [(request: GenerationRequest, rank: Int)] {
        var failed: [Entry] = []
        let moved = entries.withLock { entries in
            var held = [[TextDealer.Text]](repeating: [], count: rankCount)
            for entry in entries.values where held.indices.contains(entry.rank) {
                held[entry.rank].append(entry.text)
            }
            let moving = held[rank]
            held[rank] = []
            var dealer = TextDealer(moving, held: held)
            var load = Self.load(entries, rankCount)
            var moved: [(request: GenerationRequest, rank: Int)] = []
            for text in TextDealer.order(moving) {
                guard var entry = entries[text.id] else { continue }
                guard let next = dealer.deal(text, among: candidates(load)) else {
                    failed.append(entry)
                    entries[text.id] = nil
                    continue
                }
                load[next] += 1
                entry.rank = next
                entry.request.resumption = entry.told
                entries[text.id] = entry
                moved.append((entry.request, next))
            }
            return moved.sorted { $0.request.id < $1.request.id }
        }
        for entry in failed { entry.continuation.finish(throwing: error) }
        return moved
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
    func load(rankCount: Int) -> [Int] { entries.withLock { Self.load($0, rankCount) } }

    func rank(of id: RequestID) -> Int? { entries.withLock { $0[id]?.rank } }

    private static func load(_ entries: [RequestID: Entry], _ rankCount: Int) -> [Int] {
        var load = Array(repeating: 0, count: rankCount)
        for entry in entries.values { load[entry.rank] += 1 }
        return load
    }

    /// - Parameter rank: The rank that must have it; nil for any.
    private func close(_ id: RequestID, of rank: Int? = nil) -> Entry? {
        entries.withLock { entries in
            guard let entry = entries[id], rank ?? entry.rank == entry.rank else { return nil }
            return entries.removeValue(forKey: id)
        }
    }
}

extension Resumption {
    fileprivate mutating func add(_ event: GenerationEvent) {
        switch event {
        case .began: hasBegun = true
        case .tokens(let tokens): self.tokens += tokens.map(\.token)
        case .finished, .failed: break
        }
    }
}
