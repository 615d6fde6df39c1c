import Foundation
import Glibc
public import Topology

/// Ranks in the namespaces of a lab, and everything else outside: clients of a job need no
/// namespace.
///
/// It is the only way into a lab: jobs that serve or train, benchmarks and `apus lab run` go
/// through it.
public struct LabSite: Site {
    let map: NodeMap
    private var run: LabRun?
    /// The lab, if `enter` built it; it goes in `leave`.
    private var built: Lab?

    /// A site in the lab that `map` describes.
    public init(_ map: NodeMap) { self.map = map }

    /// The lab of a job.
    ///
    /// - Throws: `ClusterError.badInput` for a topology that cannot be read, or has another number
    ///   of ranks than the job.
    init(of job: JobConfiguration) throws(ClusterError) {
        let map: NodeMap
        do {
            map = try NodeMap(lab: job.lab)
        } catch {
            throw .badInput("\(error)")
        }
        guard map.rankCount == job.ranks else {
            throw .badInput(
                "the job has \(job.ranks) ranks; its lab has \(map.rankCount) (\(job.lab))")
        }
        self.init(map)
    }

    /// Whether this process runs in a lab already.
    public static var isInside: Bool { ProcessInfo.processInfo.environment["APUS_LAB"] != nil }

    /// Finds the lab, or builds it.
    mutating func enter(stop: StopFlag, told: (String) -> Void) throws(ClusterError) {
        if let standing = try Lab.find(map) {
            // Somebody who cut a link may have ended before joining it.
            for rank in 0 ..< map.rankCount { try standing.cut(Rank(rawValue: rank), false) }
            run = LabRun(in: standing)
        } else {
            let lab = try Lab.up(map, isTemporary: true)
            built = lab
            run = LabRun(in: lab)
        }
    }

    /// A socket that every network namespace of this machine reaches: in the job's folder, or
    /// beside the labs' records where that path is too long for a socket.
    func control(of folder: JobFolder) -> Endpoint? {
        let path = folder.url.appending(path: "control").path(percentEncoded: false)
        return Endpoint(
            address: Endpoint.fits(path) ? path : "/run/apus/control-\(getpid())", port: 0)
    }

    /// The worker's command in the namespace of its node.
    func place(_ worker: Command, as rank: Rank) -> Command? {
        guard let run else { preconditionFailure("\(rank) is placed in a lab before enter") }
        return run.command(worker, of: run.processes[rank.rawValue])
    }

    /// A supervisor for every node, in its namespace.
    ///
    /// - Parameter orders: What the supervisor of a node must know.
    func open(
        programs: String, orders: (JobHost) throws(ClusterError) -> HostOrders
    ) throws(ClusterError) -> [HostConnection] {
        guard var run else { preconditionFailure("lab \(map.name) is opened before enter") }
        run.isPerNode = true
        var opened: [HostConnection] = []
        for process in run.processes {
            var host = JobHost(name: map.nodes[process.node.rawValue].name)
            let ranks = map.ranks(on: process.node)
            host.ranks = ranks.count
            let command = run.command(Command(words: [programs + "/apus", "host"]), of: process)
            opened.append(
                try HostConnection(
                    host, ranks: ranks, command: command, programs: programs, isRemote: false,
                    orders: orders(host)))
        }
        return opened
    }

    /// The lab of a job, which is up.
    ///
    /// - Throws: `ClusterError.notOurs` if it is not.
    public static func standing(of job: JobConfiguration) throws(ClusterError) -> Lab {
        let map = try LabSite(of: job).map
        guard let lab = try Lab.find(map) else { throw .notOurs("lab \(map.name) is not up") }
        return lab
    }

    /// Removes the lab that was built here.
    mutating func leave() throws(ClusterError) {
        guard let lab = built else { return }
        built = nil
        try lab.down()
    }

    /// Runs a command on every rank of the lab, or once per node, and waits for all of it.
    public mutating func perform(
        _ command: Command, isPerNode: Bool = false, stop: StopFlag
    ) throws(ClusterError) -> ChildGroup.Ending {
        try enter(stop: stop) { _ in }
        guard var run else { preconditionFailure("lab \(map.name) was entered and has no run") }
        run.isPerNode = isPerNode
        let result: Result<ChildGroup.Ending, ClusterError>
        do throws(ClusterError) {
            let group = try ChildGroup(run.processes.map { run.command(command, of: $0) })
            result = .success(group.wait(stop: stop))
        } catch {
            result = .failure(error)
        }
        try leave()
        return try result.get()
    }
}
