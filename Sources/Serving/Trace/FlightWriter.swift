import Foundation
public import Logging
import Synchronization

/// Writes a rank's last events when something went wrong, on a thread of its own: a disk that is
/// full or slow costs the rank nothing but the file.
///
/// 1. A file holds what the rank had done by the moment it names, however late it is written.
/// 2. Of what waits for the disk, each file's latest record is held, of as many files as stay.
public final class FlightWriter: Sendable {
    private struct Last {
        let file: URL
        let date: Date
        let at: ContinuousClock.Instant
        /// As it was taken first.
        let record: FlightRecord
        /// What went wrong, one thing after the other.
        var reasons: [String]
    }

    private struct State {
        var last: Last?
        /// What waits for the disk, oldest first.
        var waiting: [(file: URL, record: FlightRecord)] = []
        var isWriting = false
        /// The last file that is there.
        var written: URL?
    }

    public let recorder: RankRecorder
    private let folder: FlightFolder
    private let node: String
    private let log: Logger
    private let lossInterval: Duration
    private let endLimit: Double
    private let store: @Sendable (FlightRecord, URL) throws -> Void
    private let queue = DispatchQueue(label: "apus-flight")
    private let writing = DispatchGroup()
    private let state = Mutex(State())

    /// For the disk to take a file before it is named: an epoch ends no later for it.
    private static let namingLimit = 0.05
    /// Seconds for a rank that ends to write its file.
    private static let endLimit = 2.0

    /// - Parameter node: As the job calls the machine.
    public convenience init(
        _ recorder: RankRecorder, in folder: FlightFolder, on node: String, log: Logger
    ) {
        self.init(
            recorder, in: folder, on: node, log: log, lossInterval: .seconds(2),
            endLimit: Self.endLimit
        ) {
            try folder.write($0, to: $1)
        }
    }

    /// - Parameters:
    ///   - lossInterval: What one loss brings about, as an error, the next epoch or the end of the
    ///     job, is one file; a step that ends between makes it another.
    ///   - endLimit: Seconds that `finish` waits for files.
    ///   - store: Writes a file.
    init(
        _ recorder: RankRecorder, in folder: FlightFolder, on node: String, log: Logger,
        lossInterval: Duration, endLimit: Double,
        store: @escaping @Sendable (FlightRecord, URL) throws -> Void
    ) {
        self.recorder = recorder
        self.folder = folder
        self.node = node
        self.log = log
        self.lossInterval = lossInterval
        self.endLimit = endLimit
        self.store = store
    }

    /// Writes what the recorder holds now: to the file of the same loss, where there is one.
    public func write(_ reason: String) {
        let isFirst = state.withLock { state in
            let (file, record) = take(reason, &state.last)
            state.waiting.removeAll { $0.file == file }
            state.waiting.append((file, record))
            // It would be removed once the others are there.
            if state.waiting.count > FlightFolder.kept { state.waiting.removeFirst() }
            defer { state.isWriting = true }
            return !state.isWriting
        }
        guard isFirst else { return }
        queue.async(group: writing) { [self] in
            while let (file, record) = next() { write(record, to: file) }
        }
    }

    /// What the recorder holds now, and the file that is to hold it.
    private func take(_ reason: String, _ last: inout Last?) -> (file: URL, record: FlightRecord) {
        let now = ContinuousClock.now
        var record = folder.record(recorder, reason: reason)
        guard var same = last, now - same.at < lossInterval,
            !record.hasStep(since: same.record)
        else {
            // Names are to the millisecond.
            let date = max(Date(), last.map { $0.date + 0.002 } ?? .distantPast)
            let file = folder.next(at: date)
            last = Last(file: file, date: date, at: now, record: record, reasons: [reason])
            return (file, record)
        }
        if !same.reasons.contains(reason) { same.reasons.append(reason) }
        last = same
        record.head.reason = same.reasons.joined(separator: "; ")
        return (same.file, record)
    }

    private func next() -> (file: URL, record: FlightRecord)? {
        state.withLock { state in
            state.isWriting = !state.waiting.isEmpty
            return state.isWriting ? state.waiting.removeFirst() : nil
        }
    }

    private func write(_ record: FlightRecord, to file: URL) {
        let path = file.path(percentEncoded: false)
        do {
            try store(record, file)
            let isNew = state.withLock { state in
                defer { state.written = file }
                return state.written != file
            }
            if isNew { log.notice("the last events of this rank are in \(path)") }
        } catch {
            log.warning(
                "the last events cannot be written to \(path): \(error.localizedDescription)")
        }
    }

    /// A reason with the file that has the last events, where one is just written; a file that is
    /// not there, as the disk is full or slow, is not named.
    public func naming(_ reason: String) -> String {
        guard let last = state.withLock({ $0.last }), .now - last.at < lossInterval else {
            return reason
        }
        func isThere() -> Bool { state.withLock { $0.written == last.file } }
        if !isThere() { _ = writing.wait(timeout: .now() + Self.namingLimit) }
        guard isThere() else { return reason }
        return FlightFolder.naming(last.file, on: node, in: reason)
    }

    /// Waits a little for files that are being written.
    public func finish() { _ = writing.wait(timeout: .now() + endLimit) }
}
