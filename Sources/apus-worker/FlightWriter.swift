import Cluster
import Foundation
import Logging
import Serving
import Synchronization
import Topology

/// Writes a rank's last events when something went wrong, on threads of their own: a disk that is
/// full or slow costs the rank nothing but the file.
final class FlightWriter: Sendable {
    private struct State {
        var last: (file: URL, at: ContinuousClock.Instant)?
    }

    let recorder: RankRecorder
    private let folder: FlightFolder
    private let log: Logger
    private let writing = DispatchGroup()
    private let state = Mutex(State())

    /// What one loss brings about, as an error, the next epoch or the end of the job, is one file.
    private static let lossInterval = Duration.seconds(2)
    /// For a rank that ends to write its file.
    private static let endLimit = 2.0

    init(_ recorder: RankRecorder, in folder: FlightFolder, log: Logger) {
        self.recorder = recorder
        self.folder = folder
        self.log = log
    }

    /// Writes what the recorder holds by now, unless that has just been done.
    func write(_ reason: String) {
        let file = state.withLock { state -> URL? in
            let now = ContinuousClock.now
            if let last = state.last, now - last.at < Self.lossInterval { return nil }
            let file = folder.next(at: Date())
            state.last = (file, now)
            return file
        }
        guard let file else { return }
        writing.enter()
        Thread.detachNewThread { [self] in
            defer { writing.leave() }
            let path = file.path(percentEncoded: false)
            do {
                try folder.write(recorder, reason: reason, to: file)
                log.notice("the last events of this rank are in \(path)")
            } catch {
                log.warning(
                    "the last events cannot be written to \(path): \(error.localizedDescription)")
            }
        }
    }

    /// A reason with the file that has the last events, where one was just written.
    func naming(_ reason: String) -> String {
        guard let last = state.withLock({ $0.last }), .now - last.at < Self.lossInterval else {
            return reason
        }
        let (node, path) = (ProcessIdentity.node, last.file.path(percentEncoded: false))
        return "\(reason) (last events: \(path) on \(node))"
    }

    /// Waits a little for files that are being written.
    func finish() { _ = writing.wait(timeout: .now() + Self.endLimit) }
}
