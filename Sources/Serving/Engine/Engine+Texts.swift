import Synchronization

extension Engine {
    /// Tokens of a text that came in one step.
    package struct Progress: Hashable, Sendable {
        /// The text.
        package let id: RequestID
        /// When, in nanoseconds of the fabric's clock.
        package let nanoseconds: UInt64
        /// How many.
        package let tokens: Int
    }

    private struct Seen {
        var progress: [Progress] = []
        var left: Int
        var failure: ServingError?
    }

    /// Generates these texts in steps with the other ranks, then stops: for ranks whose requests
    /// are all known, and equal in length.
    ///
    /// - Parameter records: Whether the recorder holds a trace afterwards.
    /// - Returns: When tokens came, in order.
    /// - Throws: `TransportError` naming a rank that was lost; what a request failed with.
    package func generate(
        _ requests: [GenerationRequest], with network: any SequenceNetwork, records: Bool
    ) throws -> [Progress] {
        let seen = Mutex(Seen(left: requests.count))
        if records {
            recorder.record(
                seconds: RankRecorder.longestSeconds, limit: RankRecorder.mostEvents)
        }
        for request in requests { submit(request) }
        try run(network, tokenizer: nil) { reports in
            let now = recorder.now
            let isDone = seen.withLock { seen in
                for report in reports {
                    switch report.event {
                    case .began: break
                    case .tokens(let tokens):
                        seen.progress.append(
                            Progress(id: report.id, nanoseconds: now, tokens: tokens.count))
                    case .finished: seen.left -= 1
                    case .failed(let error): (seen.left, seen.failure) = (seen.left - 1, error)
                    }
                }
                return seen.left == 0
            }
            if isDone { stop() }
        }
        let (progress, failure) = seen.withLock { ($0.progress, $0.failure) }
        if let failure { throw failure }
        return progress
    }
}
