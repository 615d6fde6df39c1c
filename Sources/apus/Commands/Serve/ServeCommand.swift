import ArgumentParser
import Checkpoints
import Foundation
import Logging
import Models
import Serving

/// `apus serve`: a model behind the OpenAI API, in one process.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serves a model over the OpenAI API from one process.",
        discussion: """
            Examples:
              apus serve --model cluster/models/stories-fp8
              apus serve --model DIR --ranks 2 --threads 1 --port 8000 --key SECRET

            Ranks are threads of the process. For processes and machines see apus launch.
            """)

    @OptionGroup var arguments: ModelArguments

    @Option(help: "Ranks that share the experts.")
    var ranks = 1

    @Option(help: "Interface to listen on, numeric.")
    var address = "127.0.0.1"

    @Option(help: "Port to listen on; 0 takes a free one.")
    var port = 8000

    @Option(help: "A key that clients must send.")
    var key: [String] = []

    @Option(help: "Tokens whose latents each rank keeps.")
    var cacheTokens = 65_536

    @Option(help: "mtp drafts where the checkpoint can, off does not.")
    var speculative = GenerateCommand.Speculation.mtp

    @Option(help: "Requests in a rank's batch.")
    var batch = 64

    @Flag(inversion: .prefixedNo, help: "Split steps so that all-to-all hides.")
    var overlap = true

    func validate() throws {
        guard (1 ... 1024).contains(ranks) else {
            throw ValidationError("--ranks \(ranks) is outside 1...1024")
        }
    }

    func run() async throws {
        let (door, started) = try reporting { try prepare() }
        do {
            try await door.runUntilSignal()
        } catch {
            started.stop()
            try reporting { throw error }
        }
        started.stop()
    }

    private func prepare() throws -> (FrontDoor, LocalRanks) {
        let checkpoint = try Checkpoint(directory: arguments.model)
        var local = LocalRanksConfiguration(
            directory: arguments.model,
            compute: try arguments.compute?.value ?? checkpoint.defaultCompute())
        local.ranks = ranks
        local.threads = arguments.threads(ranks: ranks)
        local.cacheTokens = cacheTokens
        local.cacheFormat = arguments.cache?.value
        local.engine.speculates = speculative == .mtp
        local.engine.overlaps = overlap
        local.engine.runningLimit = batch
        var configuration = FrontDoorConfiguration()
        configuration.address = address
        configuration.port = port
        configuration.keys = key
        try configuration.validate()
        let text = try ModelText(directory: arguments.model)
        let started = try LocalRanks(local)
        let host = address
        let door = FrontDoor(
            configuration, text: text, router: started.router, log: Logger(label: "apus")
        ) { port in
            print("serving \(text.name) on http://\(host):\(port)/v1")
            fflush(nil)
        }
        return (door, started)
    }
}
