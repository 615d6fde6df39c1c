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
}
