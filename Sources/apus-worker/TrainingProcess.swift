import Cluster
import Foundation
import Glibc
import Logging
import Synchronization
import Topology
import Training
import Transport

/// One rank of a job that trains: connect, read the text, step after step, and the end.
///
/// Safe because `figures` is a lock, and only the thread that runs the rank touches `fabrics`.
final class TrainingProcess: @unchecked Sendable {
    private let configuration: JobConfiguration
    private let work: TrainingWork
    private let rank: Rank
    private let link: ControlLink
    private let log: Logger
    private let figures = Mutex(RankStatistics())
    /// Closed by `close`, after the coordinator heard of an error: a rank that saw this one leave
    /// before would report it as lost.
    private var fabrics: [any Fabric] = []

    init(
        _ configuration: JobConfiguration, _ work: TrainingWork, rank: Rank, link: ControlLink,
        log: Logger
    ) {
        self.configuration = configuration
        self.work = work
        self.rank = rank
        self.link = link
        self.log = log
    }

    /// Returns when every rank is through; a job that ends before ends this process.
    func run() throws {
        let launch = try work.settings.applied(
            to: TrainingLaunch(), section: "train.settings")
        let job = try TrainingJob.load(path: work.file)
        let shape = try job.shape()
        let log = log
        // A step has no place to stop in; what is on disk is a whole checkpoint at any moment.
        link.onEnd { end in
            log.notice("\(end)")
            _exit(end.exitStatus.code)
        }
        let maker = JobFabric(job: configuration, rank: rank, link: link, log: log)
        let fabric = try maker.makeForGroup(in: link.epoch)
        fabrics.append(fabric)
        let experts = try expertFabric(shape, maker)
        if let experts { fabrics.append(experts) }
        link.enter(.load)
        do {
            try launch.run(job, observer: observer(), fabric: fabric, experts: experts)
        } catch let error as TransportError {
            let done = figures.withLock { $0.steps }
            throw done > 0 ? error.during("step \(done + 1)") : error
        }
        try fabric.barrier(deadline: fabric.deadline(.seconds(60), "the end"))
        link.finish()
    }

    /// Leaves; the others are told.
    func close() { for fabric in fabrics.reversed() { fabric.close() } }

    /// The ranks that share this rank's experts, in the order of data ranks.
    private func expertFabric(_ shape: ParallelShape, _ maker: JobFabric) throws -> (any Fabric)? {
        guard shape.sharesExperts else { return nil }
        let place = shape.pipelineRank(of: rank).rawValue
        return try maker.make(
            of: (0 ..< shape.dataRanks).map { Rank(rawValue: $0 * shape.pipelineRanks + place) })
    }

    private func observer() -> TrainingObserver {
        let link = link
        link.reportStatistics { [self] in figures.withLock { $0 } }
        return TrainingObserver(
            began: { link.enter(.train) },
            stepped: { [self] step in
                figures.withLock { figures in
                    figures.steps = step.number
                    figures.stepsPerSecond = 1 / step.seconds
                    figures.tokensPerSecond = step.tokensPerSecond
                    figures.allToAllShare = step.allToAllShare
                    figures.hiddenShare = step.hiddenShare
                }
            })
    }
}
