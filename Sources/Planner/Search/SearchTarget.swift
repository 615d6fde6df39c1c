/// What a recommended plan must reach; nil where anything will do.
package struct SearchTarget: Codable, Hashable, Sendable {
    /// Seconds from a prompt to its first token, at most.
    package var firstTokenSeconds: Double?
    /// Seconds of an output token, at most.
    package var outputSeconds: Double?
    /// Tokens per second of all ranks together, at least.
    package var tokensPerSecond: Double?
    /// Dollars per hour of all ranks together, at most.
    package var dollarsPerHour: Double?

    package init() {}
}
