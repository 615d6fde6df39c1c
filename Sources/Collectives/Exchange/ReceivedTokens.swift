public import Tensors

/// Tokens that arrived for this rank's experts. `combine` must follow.
public struct ReceivedTokens: ~Copyable {
    let exchange: Exchange

    /// Rows in all: one per token and local expert.
    public var rowCount: Int { exchange.arrived.rowCount }
    /// Where each local expert's rows begin in the order of `gather`; one more than experts.
    public var expertOffsets: [Int] { exchange.arrived.expertOffsets }
    /// Gate weights of the rows, in the order of `gather`.
    public var weights: [Float] { exchange.rowWeights }
    /// Tokens in all: one per token and this rank, however many of its experts it meets here.
    public var tokenCount: Int { exchange.tokenCount }

    /// Decodes the tokens, grouped by local expert, each group in order of source rank and token.
    ///
    /// - Parameter rows: At least `[rowCount, hidden]`.
    public func gather(into rows: Tensor) { exchange.gather(into: rows) }

    /// Gives the rows of this rank's experts to `body` where they lie, in the order of `gather`:
    /// tokens as they travelled, and outputs where the combine sends them from.
    ///
    /// `body` writes every output, in the group's combine codec; then call `combineWritten`. Not
    /// for a group that adds before return or carries scalars.
    public func withRows<R>(
        _ body: (_ inputs: ScatteredRows, _ outputs: ScatteredRows) throws -> R
    ) throws -> R { try exchange.withExpertRows(body) }

    /// Where a received token came from, and which experts it meets here.
    public func token(_ index: Int) -> ReceivedToken { exchange.receivedToken(index) }

    /// The encoded bytes of a received token, where they lie.
    public func withToken<R>(_ index: Int, _ body: (RawSpan) throws -> R) throws -> R {
        try exchange.withTokenBytes(index, body)
    }

    /// Writes a row that goes home, where the combine sends it from; then call `combineWritten`.
    ///
    /// The row is encoded in the group's combine codec. Where the group adds before return, there
    /// is one per token, the sum over its pairs; otherwise one per pair.
    public func withOutput(
        of token: Int, pair: Int = 0, _ body: (inout MutableRawSpan) -> Void
    ) {
        exchange.withOutputBytes(token, pair: pair, body)
    }
}
