/// The begin or the end of one call of an exchange, as the watcher of a group gets it. What a step
/// does between the calls is computation.
public struct ExchangeEvent: Sendable {
    /// The four calls of an exchange, in order.
    public enum Call: Sendable {
        /// Starts the dispatch.
        case dispatch
        /// Waits for it.
        case receive
        /// Starts the combine.
        case combine
        /// Waits for it.
        case finish
    }

    /// Which call.
    public var call: Call
    /// Counts the exchanges of a group from 1.
    public var sequence: UInt64
    /// Whether the call begins; otherwise it ended.
    public var isBegin: Bool
    /// What the exchange sends where.
    public var layout: DispatchLayout
    /// Whether the combine weighs what returns.
    public var weighting: Weighting
}
