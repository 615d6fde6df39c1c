import Cluster
import Foundation
import Logging
import Serving
import Synchronization
import Topology

/// Writes a rank's last events when something went wrong, on a thread of its own: a disk that is
/// full or slow costs the rank nothing but the file.
final class FlightWriter: Sendable {
    private struct Last {
        let file: URL
        let at: ContinuousClock.Instant
        /// What went wrong, one thing after the other.
        var reasons: [String]
        var hasFailed = false
    }

    let recorder: RankRecorder
    private let folder: FlightFolder
    private let log: Logger
    /// One file after the other, so that of two writes of one file the later one stays.
    private let queue = DispatchQueue(label: "apus-flight")
    private let writing = DispatchGroup()
    private let last = Mutex<Last?>(nil)

    /// What one loss brings about, as an error, the next epoch or the end of the job, is one file.
    private static let lossInterval = Duration.seconds(2)
    /// For a rank that ends to write its file.
    private static let endLimit = 2.0

    init(_ recorder: RankRecorder, in folder: FlightFolder, log: Logger) {
        self.recorder = recorder
        self.folder = folder
        self.log = log
    }

    /// Writes what the recorder holds by now: to the file of the same loss, where there is one.
    func write(_ reason: String) {
        let (file, reasons, isNew) = last.withLock { last in
            let now = ContinuousClock.now
            if var same = last, now - same.at < Self.lossInterval {
                if !same.reasons.contains(reason) { same.reasons.append(reason) }
                last = same
                return (same.file, same.reasons, false)
            }
            let next = Last(file: folder.next(at: Date()), at: now, reasons: [reason])
            last = next
            return (next.file, next.reasons, true)
        }
        queue.async(group: writing) { [self] in
            let path = file.path(percentEncoded: false)
            var hasFailed = false
            do {
                try folder.write(recorder, reason: reasons.joined(separator: "; "), to: file)
                if isNew { log.notice("the last events of this rank are in \(path)") }
            } catch {
                hasFailed = true
                log.warning(
                    "the last events cannot be written to \(path): \(error.localizedDescription)")
            }
            last.withLock { [hasFailed] in if $0?.file == file { $0?.hasFailed = hasFailed } }
        }
    }

    /// A reason with the file that has the last events, where one is just written; a file that
    /// could not be is not named.
    func naming(_ reason: String) -> String {
        guard let last = last.withLock({ $0 }), !last.hasFailed,
            .now - last.at < Self.lossInterval
        else { return reason }
        return FlightFolder.naming(last.file, on: ProcessIdentity.node, in: reason)
    }

    /// Waits a little for files that are being written.
    func finish() { _ = writing.wait(timeout: .now() + Self.endLimit) }
}
