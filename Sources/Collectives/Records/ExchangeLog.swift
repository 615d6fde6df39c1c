internal import Transport

/// The records that the exchanges of a group leave, and the watcher of their calls.
final class ExchangeLog {
    /// The records of the last dispatches and combines, oldest first, at most `limit`.
    private(set) var records: [ExchangeRecord] = []
    /// What it has cost to leave them.
    private(set) var recordingTime = Duration.zero
    /// Is called before and after every call of an exchange.
    var watcher: ((ExchangeEvent) -> Void)?

    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// Keeps a record; the oldest half goes when there are too many.
    ///
    /// - Parameter start: When its making began, in nanoseconds of the clock.
    func keep(_ record: ExchangeRecord, since start: UInt64, _ clock: FabricClock) {
        if records.count == limit { records.removeFirst(limit / 2) }
        records.append(record)
        recordingTime += .nanoseconds(Int64(clock.nanoseconds - start))
    }

    /// Forgets the records that were kept so far.
    func forget() { records.removeAll(keepingCapacity: true) }
}
