/// Why there is no trace.
public enum TraceError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Another trace is under way.
    case busy
    /// The service ended before the trace did.
    case ended
    /// No rank takes part.
    case noRank
    /// Bytes that no rank of this version sends.
    case malformed(String)

    /// The fact, and what to do.
    public var description: String {
        switch self {
        case .busy: "a trace is under way already: ask again when it is done, in a minute at most"
        case .ended: "the service ended before the trace did"
        case .noRank: "no rank takes part in the job, so there is nothing to trace"
        case .malformed(let fact): fact
        }
    }
}
