import Cluster
import Foundation
import Glibc
import Logging
import Topology

/// The coordinator of a job that no launcher of ours started, which runs beside rank 0.
///
/// It ends with rank 0, because it watches its lifeline. Its status becomes that of rank 0, so that
/// `srun` and `mpirun` return what `apus launch` would.
final class CoordinatorBesideRank: Sendable {
    private let child: Child
    private let log: Logger

    /// For the coordinator to say more than the closed connection does.
    private static let patience = Duration.seconds(10)

    /// Starts it.
    init(job: String, listening: Endpoint, token: ControlToken, log: Logger) throws {
        let program = JobIdentity.ownFolder.appending(path: "apus-coordinator")
        child = try Child(
            Command(
                words: [
                    program.path(percentEncoded: false), "--job", job, "--control",
                    listening.text, "--lifeline",
                ], environment: ["APUS_TOKEN": token.text]), hasLifeline: true)
        self.log = log
        log.info("started apus-coordinator, process \(child.pid), at \(listening.text)")
    }

    /// Ends this process with the coordinator, should the coordinator fail: a rank that cannot join
    /// would wait for its whole deadline.
    func watch() {
        Thread.detachNewThread { [self] in
            let end = child.wait(nil) ?? .exited(ExitStatus.failed.code)
            // In an end that has an order, the rank hears of it from the coordinator first.
            Thread.sleep(forTimeInterval: end.isSuccess ? 10 : 2)
            log.error("apus-coordinator \(end)")
            Glibc.exit(end.isSuccess ? ExitStatus.lost.code : end.code)
        }
    }

    /// Asks it to end the job in order.
    func stop() { child.signal(SIGTERM) }

    /// Waits for it to end after the job.
    ///
    /// - Returns: Its status.
    func status() -> Int32 {
        (child.wait(Self.patience) ?? child.end(within: Child.patience)).code
    }
}
