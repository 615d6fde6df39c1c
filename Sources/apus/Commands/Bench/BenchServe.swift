import ArgumentParser
import Benchmarks
import Cluster
import Foundation
import Serving
import Topology

/// `apus bench serve`: random prompts on a server, measured as `vllm bench serve` does.
struct BenchServe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Sends a load of random prompts to a server and prints how fast it answers.",
        discussion: """
            Examples:
              apus bench serve --port 8080 --num-prompts 64 --max-concurrency 32
              apus bench serve --random-input-len 512 --random-output-len 128 --request-rate 4
              apus bench serve --json > result.json

            Answers have exactly the length asked for (ignore_eos). The time per output token
            leaves out the first.
            """)

    @Option(help: "The server's interface.") var host = "127.0.0.1"
    @Option(help: "The server's port.") var port = 8080
    @Option(help: "A key, if the server wants one.") var key: String?
    @Option(help: "Requests in all.") var numPrompts = 100
    @Option(help: "Tokens of each prompt.") var randomInputLen = 128
    @Option(help: "Tokens of each answer.") var randomOutputLen = 64
    @Option(help: "Requests per second; inf sends all at once.") var requestRate = Double.infinity
    @Option(help: "1 spaces requests as a Poisson process does.") var burstiness = 1.0
    @Option(help: "Requests under way at once; 0 sets no limit.") var maxConcurrency = 0
    @Option(help: "The same seed sends the same load.") var seed: UInt64 = 0
    @Option(help: "Prompt tokens lie below this id.") var vocabularySize = 2000
    @Flag(help: "Print JSON, named as vllm's --save-result does.") var json = false

    func validate() throws {
        for (name, value) in [
            ("--num-prompts", numPrompts), ("--random-input-len", randomInputLen),
            ("--random-output-len", randomOutputLen), ("--vocabulary-size", vocabularySize),
        ] where value < 1 {
            throw ValidationError("\(name) \(value) must be at least 1")
        }
        guard (1 ... 65535).contains(port) else {
            throw ValidationError("--port \(port) is outside 1...65535")
        }
        guard requestRate > 0 else { throw ValidationError("--request-rate must be positive") }
        guard burstiness > 0 else { throw ValidationError("--burstiness must be positive") }
        guard maxConcurrency >= 0 else {
            throw ValidationError("--max-concurrency \(maxConcurrency) must not be negative")
        }
    }

    func run() async throws {
        var load = ServeBenchmark.Configuration()
        load.host = host
        load.port = port
        load.key = key
        load.prompts = numPrompts
        load.inputTokens = randomInputLen
        load.outputTokens = randomOutputLen
        load.requestRate = requestRate
        load.burstiness = burstiness
        load.concurrency = maxConcurrency
        load.seed = seed
        load.vocabularySize = vocabularySize
        let report: ServeReport
        do {
            report = try await ServeBenchmark(load).run()
        } catch {
            try reporting { throw error }
            return
        }
        print(json ? report.json : report.text)
        for error in report.errors.prefix(5) {
            StandardStream.error.say("apus: \(error)\n")
        }
        if !report.errors.isEmpty { throw ExitCode(.failed) }
    }
}
