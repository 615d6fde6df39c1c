import ArgumentParser
import Benchmarks
import Cluster
import Topology

/// `apus bench roles`: a mixed load on a job of two roles, and on the same ranks together.
struct RolesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "roles",
        abstract: "Measures what prefill and decode apart do for streams beside long prompts.",
        discussion: """
            Runs the job twice, one after the other: its ranks as one group that serves, and as \
            the file says, with groups of the roles prefill and decode. Each time streams go on \
            while long prompts come. TPOT is the mean time of a stream's tokens after its first.

              apus bench roles job.yaml
              apus bench roles job.yaml --streams 8 --prompts 8 --prompt-len 512 --json
            """)

    @Argument(help: "A job file with groups of both roles.") var job: String
    @Option(help: "Streams under way at once.") var streams = 32
    @Option(help: "Tokens of each stream.") var streamLen = 128
    @Option(help: "Long prompts in all.") var prompts = 16
    @Option(help: "Tokens of each.") var promptLen = 2000
    @Option(help: "Long prompts under way at once.") var promptsAtOnce = 2
    @Option(help: "The same seed sends the same load.") var seed: UInt64 = 0
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
        for (name, value) in [
            ("--streams", streams), ("--stream-len", streamLen), ("--prompts", prompts),
            ("--prompt-len", promptLen), ("--prompts-at-once", promptsAtOnce),
        ] where !(1 ... 1 << 20).contains(value) {
            throw ValidationError("\(name) \(value) is not 1 to 1048576")
        }
    }

    func run() async throws {
        let report: RolesReport
        do {
            report = try await measured()
        } catch {
            try reporting { throw error }
            return
        }
        print(json ? report.json : report.text)
        for error in report.errors.prefix(5) { StandardStream.error.say("apus: \(error)\n") }
        if !report.errors.isEmpty { throw ExitCode(.failed) }
    }

    private func measured() async throws -> RolesReport {
        let apart = try JobConfiguration(contentsOf: job)
        guard apart.groups.handsOver else {
            throw ClusterError.badInput(
                "\(job): groups has no group of role prefill beside one of role decode")
        }
        var together = apart
        together.groups = .one(.serve, rankCount: apart.ranks)
        return RolesReport(together: try await side(together), apart: try await side(apart))
    }

    private func side(_ job: JobConfiguration) async throws -> RolesReport.Side {
        let background = try BackgroundJob(job)
        defer { background.stop() }
        let endpoint = try await background.endpoint()
        var load = RolesBenchmark.Configuration()
        load.host = endpoint.address
        load.port = endpoint.port
        load.streams = streams
        load.streamTokens = streamLen
        load.prompts = prompts
        load.promptTokens = promptLen
        load.promptsAtOnce = promptsAtOnce
        load.seed = seed
        return try await RolesBenchmark(load).run()
    }
}
