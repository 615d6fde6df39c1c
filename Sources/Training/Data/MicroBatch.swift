/// A slice of the batch: whole sequences, and the next token of every row.
struct MicroBatch: Sendable {
    /// `[sequences * length]`.
    var tokens: [Int32]
    /// As long as `tokens`; negative for none.
    var targets: [Int32]

    /// Pairs tokens with what follows them.
    init(tokens: [Int32], targets: [Int32]) {
        self.tokens = tokens
        self.targets = targets
    }
}
