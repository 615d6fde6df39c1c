import Foundation
import Glibc

/// A look at a running job from outside: `apus status`.
public enum JobWatch {
    /// The job as it is now.
    ///
    /// - Parameter folder: The job's folder; nil is the latest job that runs.
    /// - Throws: `ClusterError.badInput` when no job runs, `deadline` when it does not answer.
    public static func snapshot(of folder: JobFolder?) throws(ClusterError) -> JobSnapshot {
        guard let folder = folder ?? JobFolder.latest() else {
            throw .badInput("no job runs (looked in \(JobFolder.root.path(percentEncoded: false)))")
        }
        let state: JobFolder.State
        let endpoints: JobFolder.Endpoints
        do {
            state = try folder.state()
            endpoints = try folder.endpoints()
        } catch {
            throw .badInput(
                "\(folder.url.path(percentEncoded: false)) is not the folder of a job that runs")
        }
        let link = try ControlLink.join(
            ControlLink.Configuration(
                endpoints.control, token: ControlToken(state.token),
                hello: Hello(
                    rank: nil, identity: nil, pid: getpid(), node: Launcher.nodeName),
                joinLimit: patience, silenceLimit: patience))
        defer { link.close() }
        guard let snapshot = link.snapshot else { throw .deadline("the job did not answer") }
        return snapshot
    }

    /// A person waits.
    private static let patience = Duration.seconds(3)
}
