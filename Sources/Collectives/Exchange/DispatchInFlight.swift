/// Tokens on their way. Compute meanwhile, then `wait`.
public struct DispatchInFlight: ~Copyable {
    let exchange: Exchange

    /// Returns when the tokens of every rank are there.
    ///
    /// - Throws: `TransportError.rankLost` or `.deadline`, naming the rank that did not send.
    public consuming func wait() throws -> ReceivedTokens {
        try exchange.receive()
        return ReceivedTokens(exchange: exchange)
    }

    /// Whether `wait` would return at once.
    package var hasArrived: Bool { exchange.dispatchHasArrived }
}
