/// What happened to one request in a step.
public struct EngineReport: Codable, Hashable, Sendable {
    /// The request.
    public var id: RequestID
    /// What happened.
    public var event: GenerationEvent
}
