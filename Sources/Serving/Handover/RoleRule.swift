/// When a group of ranks gets the other role.
///
/// Each limit of a want to change is above the one that wants the way back, so a load that stays
/// between them changes nothing.
public struct RoleRule: Hashable, Sendable {
    /// The least time from the beginning of one change to that of the next.
    let interval: Duration
    /// Tokens of prompts that wait, per rank that prefills, from which another group is to.
    let promptTokens: Int

    /// Share of the decode ranks' slots from which another group is to decode.
    let fullSlots = 0.9
    /// The share that texts may take of the slots that are left when a group stops decoding.
    let roomySlots = 0.75
    /// The share that they may take of them when it does so only because the job file says so.
    let calmSlots = 0.5
    /// Steps of an engine: fewer are done before another group could take a part of them.
    private static let waitingSteps = 16

    /// How long a want must last: a burst that is over sooner changes nothing.
    var hold: Duration { interval / 4 }
    /// How long a group may take to end the work of its role; then it keeps the role.
    var endingLimit: Duration { interval * 4 }

    /// A rule for engines whose steps have at most `stepTokens` tokens.
    ///
    /// - Parameter interval: Above zero.
    public init(interval: Duration, stepTokens: Int) {
        precondition(interval > .zero && stepTokens > 0, "\(interval), \(stepTokens)")
        self.interval = interval
        promptTokens = Self.waitingSteps * stepTokens
    }
}
