import Checkpoints
import Cluster
import Foundation
import Logging
import Serving
import Tensors
import Topology
import Transport

/// One rank of a job that serves: connect, load, warm up, answer.
final class ServingProcess {
    private let job: JobConfiguration
    private let work: ServingWork
    private let rank: Rank
    private let link: ControlLink
    /// Where weights come from that this host does not have.
    private let weights: ReceivedWeights?
    private let log: Logger
    private let epochs: ServingEpochs
    private let flightFolder: FlightFolder
    private var flight: FlightWriter?
    /// Of this node, as found before anything binds threads to some of them.
    private let cores = ProcessInfo.processInfo.activeProcessorCount

    init(
        _ job: JobConfiguration, _ work: ServingWork, file: String, rank: Rank,
        link: ControlLink, weights: ReceivedWeights?, log: Logger
    ) {
        self.job = job
        self.work = work
        self.rank = rank
        self.link = link
        self.weights = weights
        self.log = log
        epochs = ServingEpochs(job, rank: rank, link: link, log: log)
        flightFolder = FlightFolder(
            JobFolder.flight(jobFile: file, name: job.name), rank: rank)
    }

    /// An error that ended this rank, with the file of its last events.
    func words(for error: any Error) -> String { flight?.naming("\(error)") ?? "\(error)" }

    /// Returns when the job is over.
    func run() throws {
        let configuration = try configuration()
        let group = job.groups.group(of: rank).group
        try configuration.validate(ranks: group.rankCount, ranksHere: 1)
        let (link, log, epochs) = (link, log, epochs)
        defer { epochs.close() }
        let enter = { (phase: ServingRank.Phase) in
            switch phase {
            case .load(nil): link.enter(.load)
            case .load(let progress?):
                link.report(Self.progress(progress))
            case .warmUp: link.enter(.warmUp)
            case .ready:
                link.enter(.ready)
                link.recovered(epoch: epochs.number)
            }
        }
        weights?.onProgress { link.report(Self.progress($0)) }
        let serving: ServingRank
        if let (epoch, place) = epochs.returning {
            log.info("comes back to epoch \(epoch.number), place \(place.rawValue)")
            serving = try ServingRank(
                configuration, returningTo: epoch, as: place, enter: enter)
        } else {
            let (fabric, epoch) = try epochs.join()
            serving = try ServingRank(
                configuration, fabric: fabric, epoch: epoch, note: { log.warning("\($0)") },
                enter: enter)
        }
        log.info("loaded \(serving.weightByteCount) bytes of weights")
        try answer(serving)
    }

    private static func progress(_ load: LoadProgress) -> PhaseProgress {
        PhaseProgress(
            doneBytes: load.loadedBytes, totalBytes: load.totalBytes, elapsed: load.elapsed)
    }

    /// What the job says of each of its ranks.
    private func configuration() throws -> ServingRankConfiguration {
        var configuration = ServingRankConfiguration(directory: work.model)
        configuration.engine = try work.engine.applied(to: EngineConfiguration(), section: "engine")
        configuration.cacheTokens = job.limits.cacheTokens
        configuration.contextTokens = job.limits.contextTokens > 0 ? job.limits.contextTokens : nil
        configuration.cacheFormat = work.cacheFormat.flatMap { EntryFormat(name: $0.rawValue) }
        if !work.prefixFolder.isEmpty {
            configuration.prefixes = PrefixSettings(
                folder: work.prefixFolder, byteLimit: work.prefixBytes)
        }
        configuration.weights = weights
        configuration.warn = { [log] in log.warning("\($0)") }
        configuration.threads = job.threads
        configuration.redundantExperts = work.redundantExperts
        configuration.cores = cores
        configuration.stepLimit = .seconds(job.deadlines.stepSeconds)
        configuration.recoveryLimit = job.deadlines.recovery
        configuration.releaseLimit = JobConfiguration.Deadlines.release
        if job.groups.handsOver {
            let fabrics = JobFabric(job: job, rank: rank, link: link, log: log)
            configuration.makeLink = { try fabrics.make($0, $1) }
        }
        return configuration
    }

    private func answer(_ serving: ServingRank) throws {
        let link = link
        let log = log
        let engine = serving.engine
        let endpoint = EngineEndpoint(engine, capacity: serving.capacity) { try link.send($0) }
        let (rates, epochs) = (StatisticsRates(rankCount: job.ranks), epochs)
        link.reportStatistics { rates.statistics(engine.statistics) }
        link.reportCounts(serving.takeExpertCounts)
        link.onPayload { payload in
            do {
                try endpoint.receive(payload)
            } catch {
                log.error("the coordinator sent what is no command: \(error)")
            }
        }
        let flight = FlightWriter(
            engine.recorder, in: flightFolder, on: ProcessIdentity.node, log: log)
        self.flight = flight
        engine.recorder.enter(epochs.members)
        link.onEnd { end in
            if end.exitStatus != .done { flight.write("\(end)") }
            engine.stop()
        }
        defer { flight.finish() }
        link.onLoss(
            { reason in
                log.warning("the coordinator was lost: \(reason); this rank waits for another one")
                endpoint.leaveRouter()
                epochs.forget()
            },
            back: {
                log.notice("a coordinator took this rank back, with what it holds")
                endpoint.meetRouter()
            })
        let preparation = serving.preparation
        epochs.follow(engine, preparation, flight)
        // An end in order, or a rank that leaves on purpose: other ranks are gone by then.
        let hasEnded = { link.end?.exitStatus == .done }
        do {
            try serving.run(
                report: { if !epochs.isLeaving { endpoint.report($0) } },
                recover: { error in
                    if let error, !epochs.isPrepared, !hasEnded() { flight.write("\(error)") }
                    let next = try epochs.next(after: error, preparation, flight)
                    engine.recorder.enter(epochs.members)
                    return next
                },
                recovered: {
                    epochs.takePart()
                    endpoint.announce(serving.capacity)
                })
        } catch {
            if !hasEnded() { flight.write("this rank ends: \(error)") }
            flight.finish()
            throw error
        }
    }
}
