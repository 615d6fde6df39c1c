import ArgumentParser
import Cluster
import Foundation
import Glibc
import Logging
import Tensors
import Topology
import Training
import Transport

/// Runs one rank of a job.
@main
struct Worker: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apus-worker",
        abstract: "Runs one rank: joins the coordinator, loads its experts, and answers.",
        discussion: """
            apus launch starts workers. Under Slurm, Open MPI, MPICH, torchrun, LeaderWorkerSet \
            and whatever sets RANK, WORLD_SIZE and MASTER_ADDR, the environment tells the rank, \
            and rank 0 starts the coordinator:

              srun apus-worker job.yaml
              mpirun -n 4 apus-worker job.yaml

            By hand, in any order with the coordinator:

              APUS_TOKEN=... apus-worker --job job.yaml --rank 2 --coordinator 10.0.0.1:7000
            """,
        version: "apus-worker \(ApusVersion.current)")

    @Argument(help: "The job file; the same on every rank.") var file: String?
    @Option(help: "The job file, as an option.") var job: String?
    @Option(help: "The rank, from 0; default what the program that started this one says.")
    var rank: Int?
    @Option(
        help: """
            Where the coordinator listens: address:port, [address]:port or a socket; default \
            beside rank 0 where the environment tells the ranks, else the job's.
            """)
    var coordinator: String?
    @Flag(
        help: "End when standard input closes: the program that started this one is gone.")
    var lifeline = false

    /// Parses, runs, and exits: 2 for a command that makes no sense, as for any other bad input.
    static func main() {
        do {
            try parse().run()
        } catch {
            guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
            StandardStream.error.say(fullMessage(for: error) + "\n")
            Foundation.exit(ExitStatus.badInput.code)
        }
    }

    func run() throws {
        let log: Logger
        let start: RankStart
        do {
            let place = try rank == nil ? RankPlace(environment: Self.environment) : nil
            guard let number = rank ?? place?.rank else {
                throw ClusterError.badInput(
                    "--rank is missing, and no program that starts ranks says which one this is")
            }
            let tag = "rank \(number)"
            LoggingSystem.bootstrap { _ in TaggedLog(tag: tag) }
            log = Logger(label: tag)
            if let note = try Processor.check(Self.environment) { log.warning("\(note)") }
            start = try RankStart(
                file: jobFile(), rank: number, place: place, coordinator: coordinator, log: log)
            if let note = CoreLimit.ofProcess.note(threads: start.configuration.threads) {
                log.warning("\(note)")
            }
        } catch {
            StandardStream.error.say("apus-worker: \(error)\n")
            throw ExitCode(ExitStatus(of: error, otherwise: .badInput).code)
        }
        if lifeline {
            Lifeline.watch {
                // The coordinator notices it too and ends the job in order; if it is gone as well,
                // nobody else will.
                Thread.sleep(forTimeInterval: Self.orphanSeconds)
                log.error("\(JobEnd.launcherLost)")
                Glibc.exit(ExitStatus.lost.code)
            }
        }
        do {
            try joined(start, log)
        } catch {
            log.error("\(error)")
            // What the coordinator does not judge stopped this rank before it could begin.
            throw ExitCode(ExitStatus(of: error, otherwise: .badInput).code)
        }
        if let status = start.beside?.status(), status != 0 { throw ExitCode(status) }
    }

    private static var environment: [String: String] { ProcessInfo.processInfo.environment }

    private func jobFile() throws -> String {
        switch (file, job) {
        case (let file?, nil), (nil, let file?): return file
        case (nil, nil): throw ClusterError.badInput("the job file is missing: apus-worker JOB")
        case (let file?, let job?):
            throw ClusterError.badInput("two job files: \(file) and --job \(job)")
        }
    }

    /// For the coordinator to say that the job is over.
    private static let orphanSeconds = 2.0

    private func joined(_ start: RankStart, _ log: Logger) throws {
        let weights = try HostWeights(start, log: log)
        defer { weights.close() }
        let configuration = weights.configuration
        let endpoint = start.endpoint
        let rank = Rank(rawValue: start.rank)
        let deadlines = configuration.deadlines
        var joining = ControlLink.Configuration(
            endpoint, token: start.token,
            hello: Hello(
                rank: rank, identity: try JobIdentity(of: configuration),
                pid: getpid(), node: ProcessIdentity.node),
            joinLimit: .seconds(deadlines.joinSeconds),
            silenceLimit: ControlProtocol.coordinatorSilence(
                ranks: .seconds(deadlines.silenceSeconds)))
        joining.waitLimit = start.outlivesCoordinator ? configuration.coordinatorLimit : .zero
        joining.hello.weights = weights.addresses
        var kernels = KernelChoice.make(Self.environment)
        joining.hello.kernels = KernelOffer(kernels.arithmetics)
        let link = try ControlLink.join(joining)
        defer { link.close() }
        log.info(
            """
            joined \(endpoint.text), apus-coordinator \(link.welcome.version), \
            epoch \(link.welcome.epoch)
            """)
        var training: TrainingProcess?
        var serving: ServingProcess?
        defer { training?.close() }
        do {
            // For all ranks to arrive, and then to say what they have.
            let limit = Duration.seconds(deadlines.joinSeconds + deadlines.connectSeconds)
            try agree(&kernels, rank: rank, link, limit, log)
            switch configuration.work {
            case .serve(let work):
                let process = ServingProcess(
                    configuration, work, file: start.file, rank: rank, link: link,
                    weights: weights.source, log: log)
                serving = process
                try process.run()
            case .train(let work):
                let process = TrainingProcess(
                    configuration, work, rank: rank, link: link, log: log)
                training = process
                try process.run()
            }
        } catch {
            // The coordinator decides which rank was lost, and informs every rank.
            link.fail(
                serving?.words(for: error) ?? "\(error)", lost: (error as? TransportError)?.rank)
            throw ending(link) ?? error
        }
        let end = link.waitForEnd()
        log.notice("\(end)")
        if end.exitStatus != .done { throw ClusterError.ended(end) }
    }

    /// Takes for each kind of product what all ranks of the job have, and says what that changes.
    private func agree(
        _ kernels: inout KernelChoice, rank: Rank, _ link: ControlLink, _ limit: Duration,
        _ log: Logger
    ) throws(ClusterError) {
        let before = kernels.levels
        let agreement = try link.agreeOnKernels(limit: limit)
        for conflict in agreement.conflicts { log.warning("\(conflict)") }
        let missing = kernels.agree(on: agreement.arithmetics)
        guard missing.isEmpty else {
            let kinds = missing.map { kind in
                "\(kind.rawValue): \(agreement.arithmetics[kind.rawValue] ?? "none"), not"
                    + " \((kernels.arithmetics[kind.rawValue] ?? []).joined(separator: " or "))"
            }
            throw .badInput(
                "\(rank) cannot sum products as the ranks of the job do"
                    + " (\(kinds.joined(separator: "; "))): it needs a CPU like theirs, or the job"
                    + " starts anew with one level on all ranks, as APUS_CPU=avx2")
        }
        kernels.apply()
        for kind in ProductKind.allCases where kernels.levels[kind] != before[kind] {
            let (own, all) = (before[kind]?.rawValue ?? "", kernels.levels[kind]?.rawValue ?? "")
            log.notice("products of \(kind.rawValue) by \(all), not \(own): all ranks have it")
        }
        log.info("kernels: \(KernelChoice.bitsInUse)")
    }

    /// What the coordinator says about an error of ours, if it answers in time.
    private func ending(_ link: ControlLink) -> ClusterError? {
        let limit = ContinuousClock.now + .seconds(3)
        while link.end == nil, .now < limit { usleep(10_000) }
        return link.end.map(ClusterError.ended)
    }
}
