import ArgumentParser
import Benchmarks
import Cluster
import Foundation
import Models
import Serving
import Topology

/// `apus bench speculation`: one stream with MTP drafts and without, in one run.
struct SpeculationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "speculation",
        abstract: "Measures what MTP drafts bring one stream, and estimates it for other models.",
        discussion: """
            Launches a job twice, once with speculation and once without, and asks both the same \
            questions in turn. gain is tokens per second with drafts over those without, the \
            round in the middle; each transport is a pair of jobs of its own.

              apus bench speculation cluster/local.yaml --ranks 4 --transport shm,tcp
              apus bench speculation --estimate DIR --acceptance 0.8 -t 2

            --estimate measures the parts of a step of another model in this process (one row, \
            two rows, the head, a layer) and says what they add up to. Exits with 1 if both jobs \
            do not answer alike.
            """)

    @Argument(help: "A job file, for instance cluster/local.yaml.") var job: String?
    @Option(help: "Workers, instead of the job's count.") var ranks: Int?
    @Option(help: "Transports, comma-separated, instead of the job's.") var transport: String?
    @Option(help: "Tokens of an answer at most.") var maxTokens = 200
    @Option(help: "Measured rounds of all questions.") var rounds = 5
    @Option(help: "The folder of a model whose gain is estimated from parts of its steps.")
    var estimate: String?
    @Option(help: "The part of drafts that are accepted, for --estimate.") var acceptance: Double?
    @Option(name: .shortAndLong, help: "Threads, for --estimate (default: all cores).")
    var threads: Int?
    @Flag(help: "Print JSON.") var json = false

    /// In the form that the small model was trained to answer.
    private static let questions = [
        "dog and ball", "cat and tree", "bird and cake", "girl and flower", "boy and car",
        "bear and honey",
    ].map { "Tell me a story about \($0)." }

    func validate() throws {
        guard job != nil || estimate != nil else {
            throw ValidationError("name a job file, or a model with --estimate")
        }
        guard (2 ... 4096).contains(maxTokens), (1 ... 1000).contains(rounds) else {
            throw ValidationError("--max-tokens goes from 2 to 4096, --rounds from 1 to 1000")
        }
        if let acceptance, !(0 ... 1).contains(acceptance) {
            throw ValidationError("--acceptance \(acceptance) is outside 0...1")
        }
        if let threads, !(1 ... 256).contains(threads) {
            throw ValidationError("--threads \(threads) is outside 1...256")
        }
        if job == nil, acceptance == nil {
            throw ValidationError("--estimate without a job needs --acceptance")
        }
    }

    func run() async throws {
        do {
            try await measured()
        } catch {
            try reporting { throw error }
        }
    }

    private func measured() async throws {
        var results: [(name: String, result: SpeculationBenchmark.Result)] = []
        if let job {
            let configuration = try JobConfiguration(contentsOf: job)
            let names = (transport ?? configuration.transport.rawValue).split(separator: ",")
                .map(String.init)
            for name in names {
                var one = configuration
                guard let kind = TransportKind(rawValue: name) else {
                    throw ValidationError("--transport \(name): auto, shm, tcp, ucx or rdma")
                }
                one.transport = kind
                if let ranks { try one.resize(ranks: ranks) }
                try one.validate(path: job)
                let result = try await compare(one)
                results.append((name, result))
                if !json { print(lines(name, one, result)) }
            }
        }
        let accepted = acceptance ?? results.compactMap(\.result.acceptance).first
        let parts = try estimate.map { try estimated($0) }
        if let parts, let accepted, !json { print(lines(parts, accepted)) }
        if json { try printJSON(results, parts, accepted) }
        if results.contains(where: { !$0.result.isSame }) {
            StandardStream.error.say("apus: the answers differ\n")
            throw ExitCode(.failed)
        }
    }

    // MARK: Both jobs

    private func compare(_ job: JobConfiguration) async throws -> SpeculationBenchmark.Result {
        var drafting = job
        drafting.name = "drafting"
        drafting.serving?.engine["speculates"] = .flag(true)
        var plain = job
        plain.name = "plain"
        plain.serving?.engine["speculates"] = .flag(false)
        let with = try BackgroundJob(drafting)
        defer { with.stop() }
        let without = try BackgroundJob(plain)
        defer { without.stop() }
        let (a, b) = (try await with.endpoint(), try await without.endpoint())
        return try await SpeculationBenchmark(
            drafting: (a.address, a.port), plain: (b.address, b.port)
        ).run(Self.questions, maximumTokens: maxTokens, rounds: rounds)
    }

    private func estimated(_ folder: String) throws -> SpeculationEstimate {
        let arguments = try ModelArguments.parse(
            ["--model", folder] + (threads.map { ["--threads", "\($0)"] } ?? []))
        let loaded = try arguments.load()
        let depth = min(128, loaded.model.contextLimit - 2)
        return try SpeculationEstimate(
            loaded.model, cache: loaded.cache(tokens: depth + 2), depth: depth, repetitions: 15)
    }

    // MARK: Words

    private func lines(
        _ name: String, _ job: JobConfiguration, _ result: SpeculationBenchmark.Result
    ) -> String {
        func side(_ name: String, _ side: SpeculationBenchmark.Side, _ steps: Double) -> String {
            String(
                format: "  %@ %8.0f tokens/s, %.2f tokens a step, step %.3f ms", name,
                side.tokensPerSecond, Double(side.tokens) / max(1, steps),
                side.seconds / max(1, steps) * 1e3)
        }
        let accepted = result.acceptance.map { String(format: "%.1f%%", $0 * 100) } ?? "none"
        let spread = result.gains.sorted()
        return """
            \(job.ranks) ranks of \(job.threads) threads, transport \(name), \
            \(Self.questions.count) questions, \(rounds) rounds, one stream
            \(side("with drafts   ", result.drafting, result.draftingSteps))
            \(side("without drafts", result.plain, result.plainSteps))
            \(String(
                format: "  gain %.2f (rounds %.2f to %.2f), drafts accepted ", result.gain,
                spread.first ?? 0, spread.last ?? 0))\(accepted)
            """
    }

    private func lines(_ parts: SpeculationEstimate, _ acceptance: Double) -> String {
        let kind = parts.hasBlock ? "the MTP block" : "a layer and the head, for an MTP block,"
        return """
            \(estimate ?? ""): a step of one row takes \(milliseconds(parts.one)), of two rows \
            \(milliseconds(parts.two)), \(kind) \(milliseconds(parts.draft))
              \(String(
                format: "at %.1f%% accepted drafts: gain %.2f; above %.0f%% speculation gains",
                acceptance * 100, parts.gain(acceptance: acceptance), parts.breakEven * 100))
            """
    }

    private func milliseconds(_ seconds: Double) -> String {
        String(format: "%.2f ms", seconds * 1e3)
    }

    private func printJSON(
        _ results: [(name: String, result: SpeculationBenchmark.Result)],
        _ parts: SpeculationEstimate?, _ acceptance: Double?
    ) throws {
        struct Report: Encodable {
            var jobs: [String: SpeculationBenchmark.Result]
            var estimate: SpeculationEstimate?
            var estimatedGain: Double?
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        let gain = parts.flatMap { parts in acceptance.map { parts.gain(acceptance: $0) } }
        let report = Report(
            jobs: Dictionary(uniqueKeysWithValues: results.map { ($0.name, $0.result) }),
            estimate: parts, estimatedGain: gain)
        print(String(decoding: try encoder.encode(report), as: UTF8.self))
    }
}
