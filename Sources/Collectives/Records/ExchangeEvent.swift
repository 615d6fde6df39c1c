/// One call of an exchange, as a watcher of a group hears of it: what a step does between the calls
/// is computation.
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
    /// Whether the combine weighs what comes home.
    public var weighting: Weighting
}

extension Operation {
    /// Makes a call between the two events of it.
    func watched<R>(_ call: ExchangeEvent.Call, _ body: () throws -> R) rethrows -> R {
        guard let watcher = group.watcher, let layout else { return try body() }
        var event = ExchangeEvent(
            call: call, sequence: sequence, isBegin: true, layout: layout, weighting: weighting)
        watcher(event)
        let result = try body()
        event.isBegin = false
        event.weighting = weighting
        watcher(event)
        return result
    }
}
