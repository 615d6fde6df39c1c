import Foundation
import Glibc

/// Talks with a running job about the placement of its experts: `apus placement`.
public enum JobPlacement {
    /// A link to the coordinator of a job.
    ///
    /// - Parameters:
    ///   - job: A job's file, name or folder; nil takes the only job that runs.
    ///   - coordinator: The coordinator of a job of another machine, instead; its secret comes from
    ///     the environment.
    /// - Throws: `ClusterError` when there is no such job, or it does not answer.
    public static func link(
        to job: String?, coordinator: String?
    ) throws(ClusterError) -> ControlLink {
        if let coordinator {
            return try join(try Endpoint(coordinator), try ControlToken(for: JobConfiguration()))
        }
        let folder = try JobSelection.folder(job, mayHaveEnded: false)
        guard let state = try? folder.state(), let endpoints = try? folder.endpoints() else {
            throw .badInput(
                "the job of \(folder.url.path(percentEncoded: false)) does not serve yet")
        }
        return try join(endpoints.control, try ControlToken(state.token))
    }

    private static func join(
        _ control: Endpoint, _ token: ControlToken
    ) throws(ClusterError) -> ControlLink {
        try ControlLink.join(
            ControlLink.Configuration(
                control, token: token,
                hello: Hello(
                    rank: nil, identity: nil, pid: getpid(), node: ProcessIdentity.node),
                joinLimit: .seconds(3), silenceLimit: .seconds(10)))
    }
}
