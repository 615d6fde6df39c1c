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

    /// Records for some seconds (1 to 60) what every rank does.
    ///
    /// - Throws: `TraceError` where no trace can be taken; a rank that does not answer is named in
    ///   the trace.
    func trace(seconds: Int) async throws(TraceError) -> JobTrace

    /// Lets a rank leave on purpose; returns once it has left.
    ///
    /// - Throws: `DrainRefusal` with why it cannot leave, or stays after all.
    func drain(rank: Int) async throws

    /// Whether all ranks take part.
    var health: ServiceHealth { get }
}

extension RequestRouter {
    /// Ranks that are threads of one process share its end.
    public func drain(rank: Int) async throws {
        throw DrainRefusal(message: "ranks of this server are no processes that may leave")
    }
}

/// Why a rank does not leave.
public struct DrainRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// The fact, in one line.
    let message: String

    /// States a fact.
    public init(message: String) { self.message = message }

    public var description: String { message }
}

/// A router that knows how tokens lie on experts.
protocol ExpertCounting {
    /// How they lie, group by group.
    func expertLoads() -> [GroupLoads]
}

/// How a service is, as far as its router knows.
public enum ServiceHealth: Equatable, Sendable {
    /// All ranks take part.
    case serving
    /// The ranks that are left serve everything.
    case degraded(lost: [Int], drained: [Int] = [])
    /// No step can be made until the experts of a lost rank are elsewhere; requests wait.
    case recovering(lost: [Int], drained: [Int] = [])
    /// Nothing is served any more.
    case lost

    /// The ranks that were lost while others serve.
    var lostRanks: [Int] {
        switch self {
        case .serving, .lost: []
        case .degraded(let lost, _), .recovering(let lost, _): lost
        }
    }

    /// The ranks that left on purpose.
    var drainedRanks: [Int] {
        switch self {
        case .serving, .lost: []
        case .degraded(_, let drained), .recovering(_, let drained): drained
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
