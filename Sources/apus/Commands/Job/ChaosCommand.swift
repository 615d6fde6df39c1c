import ArgumentParser
import Benchmarks
import Cluster
import Glibc
import Synchronization
import Topology

/// `apus chaos`: a job whose processes are killed and stopped while clients ask it.
struct ChaosCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chaos",
        abstract: "Runs a job, kills and stops its ranks under load, and compares every answer.",
        discussion: """
            Asks everything once undisturbed, then again and again while ranks are lost. A rank \
            that was lost is started again. Exits with 1 on the first token that differs, on a \
            request that fails and on a loss that is not survived. With --coordinator its clients \
            ask again what broke off with it. Ranks must be processes of this machine, a lab's too.

              apus chaos cluster/local.yaml --ranks 4 --minutes 1
              apus chaos job.yaml --minutes 10 --every 30 --pause --disconnect-clients --json
              apus chaos cluster/lab.yaml --cut-links
            """)

    @Argument(help: "A job file that serves.") var job: String
    @Option(help: "Workers, instead of the job's count; at least 2.") var ranks: Int?
    @Option(help: "How long the job is disturbed.") var minutes = 1.0
    @Option(help: "Seconds between two disturbances.") var every = 5.0
    @Option(help: "Requests under way at once.") var streams = 16
    @Option(help: "Different requests; every second one draws by a seed.") var prompts = 32
    @Option(help: "Tokens of each answer.") var tokens = 96
    @Flag(inversion: .prefixedNo, help: "Kill ranks.") var kill = true
    @Flag(help: "Stop ranks, too: they hang until the job has given them up.") var pause = false
    @Flag(help: "Cut links of ranks, too, until the job has given a rank up: in a lab.")
    var cutLinks = false
    @Flag(help: "Kill the coordinator, too: another one takes the ranks over.")
    var coordinator = false
    @Flag(help: "Some clients leave in the middle of an answer.") var disconnectClients = false
    @Option(help: "The same seed disturbs the same ranks in the same order.") var seed: UInt64 = 0
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
        for (name, value) in [("--minutes", minutes), ("--every", every)]
        where !(value > 0 && value <= 1e6) {
            throw ValidationError("\(name) \(value) is not above 0")
        }
        for (name, value) in [("--streams", streams), ("--prompts", prompts), ("--tokens", tokens)]
        where !(1 ... 4096).contains(value) {
            throw ValidationError("\(name) \(value) is not 1 to 4096")
        }
        guard kill || pause || cutLinks || coordinator else {
            throw ValidationError(
                "--no-kill without --pause, --cut-links or --coordinator: no chaos")
        }
    }

    func run() async throws {
        do {
            let report = try await disturbed()
            print(json ? report.json : report.text)
            if !report.isGood { throw ExitCode(.failed) }
        } catch let error as ExitCode {
            throw error
        } catch {
            try reporting { throw error }
        }
    }

    private func disturbed() async throws -> ChaosReport {
        var served = try JobConfiguration(contentsOf: job)
        if let ranks { try served.resize(ranks: ranks) }
        guard var serving = served.serving, served.ranks > 1, served.hosts.isEmpty else {
            throw ClusterError.badInput(
                "\(job): chaos needs a job that serves, of 2 or more ranks on this machine;"
                    + " it has \(served.ranks)")
        }
        guard serving.onLostRank == .goOn else {
            throw ClusterError.badInput("\(job): onLostRank is end: no loss is survived")
        }
        guard !coordinator || served.coordinatorLimit > .zero else {
            throw ClusterError.badInput(
                "\(job): deadlines.coordinatorSeconds is 0: no loss of the coordinator is survived")
        }
        guard !cutLinks || !served.lab.isEmpty else {
            throw ClusterError.badInput("\(job): --cut-links needs a job in a lab (lab:)")
        }
        // A rank that is killed again and again is not left out.
        serving.restart = .always
        served.serving = serving
        let background = try BackgroundJob(served)
        defer { background.stop() }
        let endpoint = try await background.endpoint()
        var load = ChaosBenchmark.Configuration()
        load.host = endpoint.address
        load.port = endpoint.port
        load.seconds = 60 * minutes
        load.streams = streams
        load.prompts = prompts
        load.tokens = tokens
        load.interval = every
        load.kills = kill
        load.pauses = pause
        load.cuts = cutLinks
        load.coordinator = coordinator
        load.disconnects = disconnectClients
        load.seed = seed
        let isQuiet = json
        let lab = served.lab.isEmpty ? nil : try LabSite.standing(of: served)
        return try await ChaosBenchmark(
            load,
            job: ChaosBenchmark.Job(
                ranks: { background.living }, coordinator: { background.coordinator },
                signal: { _ = Glibc.kill($0, $1) },
                cut: { rank, isCut in
                    do {
                        try lab?.cut(Rank(rawValue: rank), isCut)
                    } catch { StandardStream.error.say("\(error)\n") }
                }),
            progress: { if !isQuiet { print($0) } }
        ).run()
    }
}

extension BackgroundJob {
    /// The ranks that take part, as processes.
    fileprivate var living: [ChaosBenchmark.Victim] {
        guard !hasEnded else { return [] }
        return (snapshot?.members ?? []).filter { $0.loss == nil && $0.pid > 0 }.map {
            ChaosBenchmark.Victim(rank: $0.rank.rawValue, process: $0.pid)
        }
    }
}
