internal import Transport

/// What the exchanges of a group leave behind, and who hears of their calls.
final class ExchangeLog {
    /// The records of the last halves, oldest first, at most `limit`.
    private(set) var records: [ExchangeRecord] = []
    /// What it has cost to leave them.
    private(set) var recordingTime = Duration.zero
    /// Hears of every call of an exchange, before and after it.
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
