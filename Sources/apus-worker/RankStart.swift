import Cluster
import Foundation
import Glibc
import Logging
import Topology

/// What a rank needs before it joins, from its command line, its job and its environment.
struct RankStart {
    let configuration: JobConfiguration
    let rank: Int
    /// The job file.
    let file: String
    let token: ControlToken
    /// Where the coordinator is.
    let endpoint: Endpoint
    /// The coordinator, where this rank started it.
    let beside: CoordinatorBesideRank?
    /// Whether somebody may start another coordinator: one beside rank 0 ends with that rank.
    let outlivesCoordinator: Bool
    /// Keeps the signals of a rank that `srun` or `mpirun` started.
    private let stop: StopFlag?

    /// Reads the job, and starts its coordinator where that is on this rank.
    ///
    /// - Parameters:
    ///   - place: What the program that started this one says; nil for a rank that its command line
    ///     states.
    ///   - coordinator: Where the coordinator is, if somebody else started it.
    init(
        file: String, rank: Int, place: RankPlace?, coordinator: String?, log: Logger
    ) throws {
        var job = try JobConfiguration(contentsOf: file)
        guard (0 ..< job.ranks).contains(rank) else {
            throw ClusterError.badInput(
                "rank \(rank) is not 0 to \(job.ranks - 1): the job has \(job.ranks) (ranks)")
        }
        try job.takeDevice(as: "rank \(rank) on \(ProcessIdentity.node)")
        configuration = job
        self.rank = rank
        self.file = file
        token = try ControlToken(for: job)
        guard let place else {
            outlivesCoordinator = true
            endpoint = try coordinator.map { try Endpoint($0) } ?? job.control
            (beside, stop) = (nil, nil)
            return
        }
        outlivesCoordinator = coordinator != nil
        log.info("\(place.source) says rank \(rank) of \(job.ranks)")
        if let coordinator {
            try place.check(job)
            endpoint = try Endpoint(coordinator)
            beside = nil
        } else {
            let control = try place.control(of: job)
            endpoint = control.reached
            if let listening = control.listening {
                beside = try CoordinatorBesideRank(
                    job: file, listening: listening, token: token, log: log)
            } else {
                beside = nil
            }
            beside?.watch()
        }
        let stop = StopFlag.onSignals()
        self.stop = stop
        Self.follow(
            stop, beside, patience: job.deadlines.drainSeconds + Self.endSeconds, log: log)
    }

    /// For the end itself, after requests under way had their time.
    private static let endSeconds = 5.0

    /// Lets the coordinator end the job when this process is asked to end: `scancel` and Ctrl-C of
    /// `mpirun` ask every rank at once, and a rank that is gone would be reported as lost.
    private static func follow(
        _ stop: StopFlag, _ beside: CoordinatorBesideRank?, patience: Double, log: Logger
    ) {
        Thread.detachNewThread {
            while !stop.isRaised { stop.wait(1) }
            log.notice("asked to end: the coordinator ends the job")
            beside?.stop()
            let limit = Date(timeIntervalSinceNow: patience)
            while stop.requests < 2, Date() < limit { stop.wait(1, after: 1) }
            beside?.stop()
            Thread.sleep(forTimeInterval: 1)
            Glibc.exit(ExitStatus.signal(stop.raisedBy ?? SIGTERM).code)
        }
    }
}
