import Foundation
import Topology

/// A place where the ranks of a job run: this machine, a lab, machines behind ssh, a queue.
///
/// The coordinator always runs beside the launcher. A site says how a rank is started in its
/// place, and is left when every process is gone.
protocol Site: Sendable {
    /// Makes the place ready, before any process starts.
    mutating func enter() throws(ClusterError)

    /// Where the coordinator listens so that ranks of this place reach it.
    ///
    /// - Returns: Nil where the address that the job states is right.
    func control(of folder: JobFolder) -> Endpoint?

    /// The command that runs `worker` as a rank of this place.
    ///
    /// - Returns: Nil where the launcher starts nothing because something else starts the ranks,
    ///   as Slurm and Kubernetes do.
    func place(_ worker: Command, as rank: Rank) -> Command?

    /// Brings the log of a process into the job's folder.
    ///
    /// - Returns: Where the log is. Processes on this machine write it there themselves.
    func collect(_ process: JobProcess, into folder: JobFolder) -> URL

    /// Leaves nothing behind of what `enter` made.
    ///
    /// Every process is gone by then.
    mutating func leave() throws(ClusterError)
}

extension Site {
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
    func enter() {}

    /// The worker's own command.
    func place(_ worker: Command, as rank: Rank) -> Command? { worker }

    /// Nothing was made.
    func leave() {}
}
