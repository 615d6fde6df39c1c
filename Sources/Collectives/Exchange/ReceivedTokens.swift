public import Tensors
public import Topology

/// Tokens on their way. Compute meanwhile, then `wait`.
public struct DispatchInFlight: ~Copyable {
    let operation: Operation

    /// Returns when the tokens of every rank are there.
    ///
    /// - Throws: `TransportError.rankLost` or `.deadline`, naming the rank that did not send.
    public consuming func wait() throws -> ReceivedTokens {
        try operation.watched(.receive) { try operation.finishDispatch() }
        return ReceivedTokens(operation: operation)
    }

    /// Whether `wait` would return at once.
    public var hasArrived: Bool { operation.dispatchHasArrived }
}

/// Tokens that arrived for this rank's experts. Owed to `combine`.
public struct ReceivedTokens: ~Copyable {
    let operation: Operation

    /// Rows in all: one per token and local expert.
    public var rowCount: Int { operation.arrived.positions.count }
    /// Where each local expert's rows begin in the order of `gather`; one more than experts. With
    /// an alignment, the counts are rounded up to it.
    public var expertOffsets: [Int] { operation.arrived.expertOffsets }
    /// Rows of each local expert.
    public var expertCounts: [Int] { operation.arrived.expertCounts }
    /// Gate weights of the rows, in the order of `gather`; 0 for padding.
    public var weights: [Float] { operation.rowWeights }
    /// Tokens in all: one per token and this rank, however many of its experts it meets here.
    public var tokenCount: Int { operation.tokenCount }

    /// Rounds every expert's count of rows up to a multiple, as a kernel may want them.
    public mutating func align(to alignment: Int) { operation.arrange(alignment: alignment) }

    /// Rows that `gather` fills, padding included.
    public var gatheredRowCount: Int { operation.arrived.expertOffsets.last ?? 0 }

    /// Decodes the tokens, grouped by local expert, each group in order of source rank and token.
    ///
    /// - Parameter rows: At least `[gatheredRowCount, hidden]`; padding rows become zero.
    public func gather(into rows: Tensor) { operation.gather(into: rows) }

    /// Where a received token came from, and which experts it meets here.
    public func token(_ index: Int) -> ReceivedToken { operation.receivedToken(index) }

    /// The encoded bytes of a received token, where they lie.
    public func withToken<R>(_ index: Int, _ body: (RawSpan) throws -> R) throws -> R {
        try operation.withTokenBytes(index, body)
    }

    /// Writes a row that goes home, where the combine sends it from; then call `combineWritten`.
    ///
    /// The row is encoded in the group's combine codec. Where the group adds before return, there
    /// is one per token, the sum over its pairs; otherwise one per pair.
    public func withOutput(
        of token: Int, pair: Int = 0, _ body: (inout MutableRawSpan) -> Void
    ) {
        operation.withOutputBytes(token, pair: pair, body)
    }
}

/// One token that a rank received.
public struct ReceivedToken: Hashable, Sendable {
    /// The rank that sent it.
    public var source: Rank
    /// Its index there.
    public var index: Int
    /// Per meeting: local expert index, which choice of the token it is, and its gate weight.
    public var pairs: [Pair]

    /// A token's meeting with one expert.
    public struct Pair: Hashable, Sendable {
        public var localExpert: Int
        public var choice: Int
        public var weight: Float

        /// A choice of the token for an expert of this rank.
        public init(localExpert: Int, choice: Int, weight: Float) {
            self.localExpert = localExpert
            self.choice = choice
            self.weight = weight
        }
    }
}

/// Outputs on their way home.
public struct CombineInFlight: ~Copyable {
    let operation: Operation

    /// Returns when all outputs are home, and adds them to `rows`.
    ///
    /// - Parameter rows: `[tokens, hidden]` of the dispatch; a residual or bias may be in it.
    public consuming func wait(addingInto rows: Tensor) throws {
        try operation.watched(.finish) { try operation.finishCombine(addingInto: rows) }
    }

    /// Returns when all outputs are home, and writes their sums to `rows`, whatever those held;
    /// zeros for a token that went nowhere.
    ///
    /// Each sum is added up in f32 and rounded once. Of bf16 rows half as many bytes are written as
    /// of f32, and none are read.
    ///
    /// - Parameter rows: `[tokens, hidden]` of the dispatch, in f32 or bf16.
    public consuming func wait(into rows: EncodedRows) throws {
        try operation.finishCombine(into: rows)
    }

    /// As `wait(addingInto:)`, and returns the scalars that came with the rows.
    ///
    /// - Returns: `[tokens, topK]`, 0 where a choice names no expert.
    public consuming func waitWithScalars(addingInto rows: Tensor) throws -> [Float] {
        try operation.watched(.finish) { try operation.finishCombine(addingInto: rows) }
        return operation.homeScalars
    }
}
