import Topology

/// Where a job's workers run: on this machine as it is, or in a lab.
struct LaunchSite {
    /// Where the lab puts each rank; nil without a lab.
    private(set) var placement: Launcher.Placement?
    /// The lab, if it was built for this job and goes with it.
    private var built: Lab?

    /// What a job needs of its lab is there: as many ranks as the job has.
    ///
    /// - Returns: Nil for a job without a lab.
    static func map(of job: JobConfiguration) throws(ClusterError) -> NodeMap? {
        guard !job.lab.isEmpty else { return nil }
        let map: NodeMap
        do {
            map = try NodeMap(contentsOf: job.lab)
        } catch {
            throw .badInput("\(error)")
        }
        guard map.rankCount == job.ranks else {
            throw .badInput(
                "the job has \(job.ranks) ranks; its lab has \(map.rankCount) (\(job.lab))")
        }
        return map
    }

    /// Builds the job's lab unless it has none, or the lab is up already.
    init(_ job: JobConfiguration) throws(ClusterError) {
        guard let map = try Self.map(of: job) else { return }
        if let standing = try Lab.find(map) {
            placement = LabRun(in: standing).placement
        } else {
            let lab = try Lab.up(map, isTemporary: true)
            built = lab
            placement = LabRun(in: lab).placement
        }
    }

    /// Removes a lab that was built here.
    mutating func leave() throws(ClusterError) {
        guard let lab = built else { return }
        built = nil
        try lab.down()
    }
}
