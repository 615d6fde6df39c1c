/// What a profile measures.
public struct ProfileOptions: Codable, Hashable, Sendable {
    /// Measured steps; two more go before.
    public var steps = 5
    /// Whether computation is replaced by sleep of its measured processor time, for machines with
    /// more ranks than cores.
    public var sleeps = false
    /// Whether sleeps are stretched until computation takes as long as the all-to-all without
    /// overlap: the report's 1:1 (§3.2.1).
    public var matchesTravel = false
    /// Whether every expert gets as many tokens, whatever the gates say.
    public var routesEvenly = false
    /// Another schedule that is measured as well; empty for none.
    public var against = ""

    /// Five steps of the job as it is.
    public init() {}
}
