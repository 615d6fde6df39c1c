/// Takes requests to the engines that answer them.
///
/// The HTTP API knows only this. Behind it is an engine in the same process, or ranks elsewhere.
public protocol RequestRouter: Sendable {
    /// Hands a request to an engine.
    ///
    /// The stream ends after `finished`, or throws `ServingError`. Dropping it cancels the request.
    func submit(
        _ request: GenerationRequest
    ) async throws -> AsyncThrowingStream<GenerationEvent, any Error>

    /// Withdraws a request; its blocks are free after the step under way.
    func cancel(_ id: RequestID) async

    /// What each rank's engine last reported, by rank.
    func statistics() async -> [EngineStatistics]

    /// How tokens lie on experts, group by group; empty where nobody counts them.
    func expertLoads() -> [GroupLoads]

    /// Records for some seconds (1 to 60) what every rank does.
    ///
    /// - Throws: `TraceError` where no trace can be taken; a rank that does not answer is named in
    ///   the trace.
    func trace(seconds: Int) async throws(TraceError) -> JobTrace

    /// Whether all ranks take part.
    var health: ServiceHealth { get }
}

/// How a service is, as far as its router knows.
public enum ServiceHealth: Equatable, Sendable {
    /// All ranks take part.
    case serving
    /// The ranks that are left serve everything.
    case degraded(lost: [Int])
    /// No step can be made until the experts of a lost rank are elsewhere; requests wait.
    case recovering(lost: [Int])
    /// Nothing is served any more.
    case lost

    /// The ranks that take no part while others do.
    var lostRanks: [Int] {
        switch self {
        case .serving, .lost: []
        case .degraded(let lost), .recovering(let lost): lost
        }
    }

    /// Whether steps are made.
    var serves: Bool {
        switch self {
        case .serving, .degraded: true
        case .recovering, .lost: false
        }
    }

    /// The word of `/health`.
    var word: String {
        switch self {
        case .serving: "ready"
        case .degraded: "degraded"
        case .recovering: "recovering"
        case .lost: "lost"
        }
    }
}
