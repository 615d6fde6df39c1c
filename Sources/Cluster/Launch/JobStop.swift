import Foundation
import Glibc

/// Ends a job from outside: `apus stop`.
public enum JobStop {
    /// Asks the process that runs a job on this machine to end it in order, as Ctrl-C does, and
    /// waits until it is gone.
    ///
    /// - Parameters:
    ///   - now: Requests under way are not waited for.
    ///   - limit: For the job to be over.
    /// - Throws: `ClusterError.badInput` when the job has ended, or runs on another machine;
    ///   `deadline` when it is not over in time.
    public static func stop(
        _ folder: JobFolder, now: Bool, limit: Duration
    ) throws(ClusterError) {
        let report = try JobWatch.report(of: folder, asks: false)
        guard let state = try? folder.state(), state.node == ProcessIdentity.node else {
            throw .badInput(
                "the job \(report.name) runs \(report.state): stop it there, or give --coordinator"
                    + " ADDRESS:PORT")
        }
        guard state.owner.isAlive else {
            throw .badInput("the job \(report.name) has ended already")
        }
        for _ in 0 ..< (now ? 2 : 1) {
            if kill(state.owner.pid, SIGTERM) != 0 {
                // It ended meanwhile, as it was about to be asked.
                guard errno != ESRCH else { return }
                throw .badInput(
                    "process \(state.owner.pid) of the job \(report.name) is another user's")
            }
            // Two signals that arrive at once are one.
            Thread.sleep(forTimeInterval: 0.1)
        }
        try wait("process \(state.owner.pid)", limit) { state.owner.isAlive ? nil : () }
    }

    /// Ends a job anywhere, by its coordinator. Requests under way get an error.
    ///
    /// - Returns: How the job ended, as its coordinator says.
    /// - Throws: `ClusterError` when the coordinator cannot be reached or refuses the secret;
    ///   `deadline` when the job is not over in time.
    public static func stop(
        at control: Endpoint, token: ControlToken, limit: Duration
    ) throws(ClusterError) -> JobEnd {
        let link = try ControlLink.join(
            ControlLink.Configuration(
                control, token: token,
                hello: Hello(
                    rank: nil, identity: nil, pid: getpid(), node: ProcessIdentity.node),
                joinLimit: .seconds(3), silenceLimit: .seconds(10)))
        defer { link.close() }
        link.stop()
        return try wait("the coordinator at \(control.text)", limit) { link.end }
    }

    private static func wait<Answer>(
        _ name: String, _ limit: Duration, for answer: () -> Answer?
    ) throws(ClusterError) -> Answer {
        let begin = ContinuousClock.now
        while true {
            if let answer = answer() { return answer }
            guard .now - begin < limit else {
                throw .deadline("\(name) was asked to end the job, and has not within \(limit)")
            }
            Thread.sleep(forTimeInterval: 0.05)
        }
    }
}
