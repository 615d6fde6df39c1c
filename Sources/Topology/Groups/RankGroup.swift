/// What the ranks of a group do.
public enum RankRole: String, Codable, CaseIterable, Sendable {
    /// They answer requests.
    case serve
    /// They compute prompts, and hand what they cached of them to ranks that decode.
    case prefill
    /// They continue prompts whose cache entries come from ranks that prefill.
    case decode
    /// They train a model.
    case train
}

/// Ranks that work as one: they share a fabric, and the routed experts of one model.
public struct RankGroup: Hashable, Sendable {
    /// What messages call the group.
    public var name: String
    /// What its ranks do.
    public var role: RankRole
    /// How many ranks it has.
    public var rankCount: Int

    /// A group with the stated values.
    public init(name: String, role: RankRole, rankCount: Int) {
        self.name = name
        self.role = role
        self.rankCount = rankCount
    }
}
