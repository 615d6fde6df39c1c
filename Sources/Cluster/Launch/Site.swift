import Foundation
import Topology

/// A place where the ranks of a job run: this machine, a lab, machines behind ssh, a queue.
///
/// The coordinator always runs beside the launcher. A site says how a rank is started in its
/// place, and is left when every process is gone.
protocol Site: Sendable {
    /// Makes the place ready, before any process starts.
    ///
    /// - Parameters:
    ///   - stop: When it is raised, there is no need to go on.
    ///   - told: Takes lines of progress for people.
    mutating func enter(stop: StopFlag, told: (String) -> Void) throws(ClusterError)

    /// Where the coordinator listens so that ranks of this place reach it.
    ///
    /// - Returns: Nil where the address that the job states is right.
    func control(of folder: JobFolder) -> Endpoint?

    /// The command that runs `worker` as a rank of this place.
    ///
    /// - Returns: Nil where the launcher starts nothing because something else starts the ranks,
    ///   as Slurm and Kubernetes do.
    func place(_ worker: Command, as rank: Rank) -> Command?

    /// Starts a rank that `place` gives a command.
    ///
    /// - Parameters:
    ///   - control: Where the coordinator listens.
    ///   - output: The rank's log, which the site closes.
    func start(
        _ worker: Command, as rank: Rank, control: Endpoint, output: FileHandle
    ) throws(ClusterError) -> any RunningProcess

    /// Brings the log of a process into the job's folder.
    ///
    /// - Returns: Where the log is. Processes on this machine write it there themselves.
    func collect(_ process: JobProcess, into folder: JobFolder) -> URL

    /// What the hosts of this place say of themselves, in time that nobody notices.
    func surveyed(stop: StopFlag) -> [CheckedHost]

    /// Leaves nothing behind of what `enter` made.
    ///
    /// Every process is gone by then.
    mutating func leave() throws(ClusterError)
}

extension Site {
    /// A process of this machine, which ends when this one does.
    func start(
        _ worker: Command, as rank: Rank, control: Endpoint, output: FileHandle
    ) throws(ClusterError) -> any RunningProcess {
        defer { try? output.close() }
        guard let command = place(worker, as: rank) else {
            preconditionFailure("\(rank) is started elsewhere")
        }
        return try Child(command, output: .file(output), hasLifeline: true)
    }

    /// Ranks on the launcher's machine: its own survey says it all.
    func surveyed(stop: StopFlag) -> [CheckedHost] { [] }

    /// The job's own address.
    func control(of folder: JobFolder) -> Endpoint? { nil }

    /// The file that the process writes on this machine.
    func collect(_ process: JobProcess, into folder: JobFolder) -> URL {
        folder.log(process.logName)
    }
}

/// This machine as it is.
struct LocalSite: Site {
    /// The site of every job that names no other.
    init() {}

    /// Nothing is to be made.
    func enter(stop: StopFlag, told: (String) -> Void) {}

    /// The worker's own command.
    func place(_ worker: Command, as rank: Rank) -> Command? { worker }

    /// Nothing was made.
    func leave() {}
}
