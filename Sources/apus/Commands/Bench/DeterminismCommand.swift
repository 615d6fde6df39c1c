import ArgumentParser
import Benchmarks
import Cluster
import Foundation
import Topology

/// `apus bench determinism`: whether a text depends on what else a server computes.
struct DeterminismCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "determinism",
        abstract: "Asks a server the same questions many times and counts the different texts.",
        discussion: """
            Examples:
              apus bench determinism --port 8080
              apus bench determinism --requests 100 --streams 64 --json

            Greedy and seeded requests alternate, --streams of them at once. One text per prompt
            is what is expected; another number is exit code 1.
            """)

    @Option(help: "The server's interface.") var host = "127.0.0.1"
    @Option(help: "The server's port.") var port = 8080
    @Option(help: "A key, if the server wants one.") var key: String?
    @Option(help: "Greedy requests, and as many with a seed.") var requests = 500
    @Option(help: "Different prompts.") var prompts = 10
    @Option(help: "Requests under way at once.") var streams = 32
    @Option(help: "Tokens of each answer.") var tokens = 64
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
        for (name, value) in [
            ("--requests", requests), ("--prompts", prompts), ("--streams", streams),
            ("--tokens", tokens),
        ] where !(1 ... 100_000).contains(value) {
            throw ValidationError("\(name) \(value) is outside 1...100000")
        }
        guard (1 ... 65535).contains(port) else {
            throw ValidationError("--port \(port) is outside 1...65535")
        }
    }

    func run() async throws {
        var load = DeterminismBenchmark.Configuration()
        (load.host, load.port, load.key) = (host, port, key)
        (load.requests, load.prompts, load.streams) = (requests, prompts, streams)
        load.tokens = tokens
        let isShown = isatty(STDERR_FILENO) == 1
        let report: DeterminismReport
        do {
            report = try await DeterminismBenchmark(load).run { done, all in
                guard isShown, done % 10 == 0 || done == all else { return }
                let end = done == all ? "\n" : ""
                StandardStream.error.say("\r\(done) of \(all) answers\u{1B}[K\(end)")
            }
        } catch {
            try reporting { throw error }
            return
        }
        print(json ? report.json : report.text)
        if report.most != 1 { throw ExitCode(.failed) }
    }
}
