import Synchronization

/// The requests that generate now, so that their streams can be ended with a reason.
final class StreamTable: Sendable {
    /// Who drops a request's streams ends them, so the table does not hold them.
    private struct Entry {
        weak var streams: RequestStreams?
    }

    private struct State {
        var streams: [Int: Entry] = [:]
        var lastID = 0
        /// Why nothing is taken any more.
        var ending: ServingError?
    }

    private let state = Mutex(State())

    /// Keeps the streams of a request until they end.
    ///
    /// Streams that come after `end` end at once.
    func add(_ streams: RequestStreams) {
        let (id, ending) = state.withLock { state in
            state.lastID += 1
            if state.ending == nil {
                state.streams[state.lastID] = Entry(streams: streams)
            }
            return (state.lastID, state.ending)
        }
        if let ending { return streams.end(ending) }
        streams.onEnd { [weak self] in self?.remove(id) }
    }

    /// Ends all, and all that come later.
    func end(_ error: ServingError) {
        let streams = state.withLock { state in
            state.ending = state.ending ?? error
            defer { state.streams = [:] }
            return state.streams.values.compactMap(\.streams)
        }
        for stream in streams { stream.end(error) }
    }

    private func remove(_ id: Int) { state.withLock { $0.streams[id] = nil } }
}
