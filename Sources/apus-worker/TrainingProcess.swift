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
    private let rank: Rank
    private let link: ControlLink
    private let log: Logger
    private let figures = Mutex(RankStatistics())
    /// Closed by `close`, after the coordinator heard of an error: whoever saw this rank leave
    /// before would blame it.
    private var fabrics: [any Fabric] = []

    init(_ configuration: JobConfiguration, rank: Rank, link: ControlLink, log: Logger) {
        self.configuration = configuration
        self.rank = rank
        self.link = link
        self.log = log
    }

    /// Returns when every rank is through; a job that ends before ends this process.
    func run() throws {
        let launch = try configuration.training.applied(
            to: TrainingLaunch(), section: "training")
        let job = try TrainingJob.load(path: configuration.model)
        let shape = try job.options().shape
        let log = log
        // A step has no place to stop in; what is on disk is a whole checkpoint at any moment.
        link.onEnd { end in
            log.notice("\(end)")
            _exit(end.exitStatus.code)
        }
        let exchange = ControlExchange(link, rank: rank)
        let fabric = try makeFabric(fabricConfiguration(rank, configuration.ranks), exchange)
        fabrics.append(fabric)
        for other in fabric.ranks where other != rank {
            log.info("\(other) is reached by \(fabric.path(to: other))")
        }
        let experts = try expertFabric(shape, exchange)
        if let experts { fabrics.append(experts) }
        link.enter(.load)
        do {
            try launch.run(job, observer: observer(), fabric: fabric, experts: experts)
        } catch let error as TransportError {
            let done = figures.withLock { $0.steps }
            throw done > 0 ? error.during("step \(done + 1)") : error
        }
        try fabric.barrier(deadline: Deadline(.seconds(60), "the end"))
        if rank == 0 { try link.send(Array("done".utf8)) }
    }

    /// Leaves; the others are told.
    func close() { for fabric in fabrics.reversed() { fabric.close() } }

    private func fabricConfiguration(_ rank: Rank, _ count: Int) -> FabricConfiguration {
        var fabric = FabricConfiguration(
            rank: rank, rankCount: count,
            transport: FabricConfiguration.Transport(rawValue: configuration.transport) ?? .auto,
            device: configuration.device.isEmpty ? nil : configuration.device)
        fabric.joinLimit = .seconds(configuration.deadlines.connectSeconds)
        fabric.silenceLimit = .seconds(configuration.deadlines.silenceSeconds)
        return fabric
    }

    private func makeFabric(
        _ fabric: FabricConfiguration, _ exchange: any AddressExchange
    ) throws -> any Fabric {
        try Transport.makeFabric(fabric, exchange: exchange)
    }

    /// The ranks that share this rank's experts, in the order of data ranks.
    private func expertFabric(
        _ shape: ParallelShape, _ exchange: ControlExchange
    ) throws -> (any Fabric)? {
        guard shape.sharesExperts else { return nil }
        let place = shape.pipelineRank(of: rank).rawValue
        let members = (0 ..< shape.dataRanks).map {
            Rank(rawValue: $0 * shape.pipelineRanks + place)
        }
        let part = MemberExchange(exchange, members: members)
        var fabric = fabricConfiguration(part.rank, part.rankCount)
        fabric.names = members
        return try makeFabric(fabric, part)
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
