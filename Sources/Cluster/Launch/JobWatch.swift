public import Foundation
import Glibc

/// Reports jobs from outside: `apus status` and `apus jobs`.
public enum JobWatch {
    /// Every job of this user that runs, the newest first, each asked how it is.
    public static func running(in root: URL = JobFolder.root) -> [JobReport] {
        JobFolder.all(in: root).filter(\.isRunning).compactMap { try? report(of: $0) }
    }

    /// What a job's folder says, and what the job says itself.
    ///
    /// - Parameter asks: Whether the job's coordinator is asked.
    /// - Throws: `ClusterError.badInput` for a folder that is no job's.
    public static func report(
        of folder: JobFolder, asks: Bool = true
    ) throws(ClusterError) -> JobReport {
        let path = folder.url.path(percentEncoded: false)
        let state: JobFolder.State
        do {
            state = try folder.state()
        } catch {
            throw .badInput("\(path) is not the folder of a job")
        }
        var report = JobReport(
            name: state.name, subject: state.subject, folder: path, pid: state.owner.pid,
            began: state.began, state: "ended")
        guard state.node == ProcessIdentity.node else {
            report.state = "on \(state.node)"
            return report
        }
        guard state.owner.isAlive else { return report }
        report.state = "starting"
        guard let endpoints = try? folder.endpoints() else { return report }
        report.state = endpoints.http == nil ? "starting" : "ready"
        report.control = endpoints.control.text
        report.http = endpoints.http?.url("/v1")
        guard asks else { return report }
        do throws(ClusterError) {
            let snapshot = try ask(endpoints.control, ControlToken(state.token))
            report.snapshot = snapshot
            report.state = snapshot.end == nil ? "\(snapshot.phase)" : "ended"
            if snapshot.awaited != nil { report.state = "recovering" }
        } catch {
            report.state = "silent"
            report.error = error.description
        }
        return report
    }

    private static func ask(
        _ control: Endpoint, _ token: ControlToken
    ) throws(ClusterError) -> JobSnapshot {
        let link = try ControlLink.join(
            ControlLink.Configuration(
                control, token: token,
                hello: Hello(
                    rank: nil, identity: nil, pid: getpid(), node: ProcessIdentity.node),
                joinLimit: patience, silenceLimit: patience))
        defer { link.close() }
        guard let snapshot = link.snapshot else { throw .deadline("the job did not answer") }
        return snapshot
    }

    /// A person waits.
    private static let patience = Duration.seconds(3)
}
