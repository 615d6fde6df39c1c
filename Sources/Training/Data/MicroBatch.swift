/// A slice of the batch: whole sequences, and the next token of every row.
public struct MicroBatch: Sendable {
    /// `[sequences * length]`.
    public var tokens: [Int32]
    /// As long as `tokens`; negative for none.
    public var targets: [Int32]

    /// Pairs tokens with what follows them.
    public init(tokens: [Int32], targets: [Int32]) {
        self.tokens = tokens
        self.targets = targets
    }
}
