/// What travels from a router to an engine elsewhere.
enum EngineCommand: Codable, Hashable, Sendable {
    case submit(GenerationRequest)
    case cancel(RequestID)
    /// Say what the engine does now.
    case askStatistics
    /// Say what the rank's clock shows, with the number of this question.
    case askClock(UInt64)
    /// Record so many events at most, for so long.
    case record(seconds: Int, limit: Int)
    /// Send what was recorded, from an event on.
    case takeRecord(from: Int)
    /// Of prompts that one rank computes for another.
    case handover(HandoverCommand)
}

/// What travels back.
enum EngineMessage: Codable, Hashable, Sendable {
    case reports([EngineReport])
    case statistics(EngineStatistics)
    /// What the rank is, before anything else.
    case capacity(EngineCapacity)
    /// What the rank's clock shows.
    case clock(UInt64, nanoseconds: UInt64)
    /// A part of what was recorded.
    case recorded(RecordPart)
    /// Of prompts that one rank computes for another.
    case handover(HandoverReport)
}
