/// What travels from a router to an engine elsewhere.
enum EngineCommand: Codable, Hashable, Sendable {
    case submit(GenerationRequest)
    case cancel(RequestID)
    /// Say what the engine does now.
    case askStatistics
    /// Of prompts that one rank computes for another.
    case handover(HandoverCommand)
}

/// What travels back.
enum EngineMessage: Codable, Hashable, Sendable {
    case reports([EngineReport])
    case statistics(EngineStatistics)
    /// What the rank is, before anything else.
    case capacity(EngineCapacity)
    /// Of prompts that one rank computes for another.
    case handover(HandoverReport)
}
