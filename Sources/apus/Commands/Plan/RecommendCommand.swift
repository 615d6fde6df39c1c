import ArgumentParser
import Checkpoints
import Foundation
import Pipeline
import Planner
import Topology

/// `apus plan recommend`: searches the ways to cut a model.
struct RecommendCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recommend",
        abstract: "Searches EP, PP, DP, TP, redundancy and batch; prints the plans none beats.",
        discussion: """
            A plan is beaten when another is at least as fast and brings as many tokens per second \
            of a rank, and is better in one of them. With --answer-tokens, decode is set beside \
            the best prefill plan, and the table says how ranks are shared out between them.
            """)

    @OptionGroup var options: PlanOptions

    @Option(help: "Train: sequences of a data-parallel copy.")
    var batch = 120

    @Option(help: "TTFT at most, milliseconds.")
    var ttftMilliseconds: Double?

    @Option(help: "TPOT at most, milliseconds.")
    var tpotMilliseconds: Double?

    @Option(help: "Tokens per second of all ranks together, at least.")
    var tokensPerSecond: Double?

    @Option(help: "Dollars per hour of all ranks together, at most.")
    var budget: Double?

    @Option(help: "Decode: tokens of an answer, to share ranks out between prefill and decode.")
    var answerTokens: Int?

    @Option(help: "Write a picture of the plans to this file.")
    var svg: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        for (name, value) in [
            ("ttft-milliseconds", ttftMilliseconds), ("tpot-milliseconds", tpotMilliseconds),
            ("tokens-per-second", tokensPerSecond), ("budget", budget),
        ] {
            guard let value else { continue }
            guard value > 0, value.isFinite else {
                throw ValidationError("--\(name) \(value) is not above 0")
            }
        }
        guard answerTokens.map({ (1 ... 1 << 24).contains($0) }) ?? true else {
            throw ValidationError("--answer-tokens \(answerTokens ?? 0) is not 1 to \(1 << 24)")
        }
    }

    func run() throws {
        try reporting {
            var request = try options.request()
            request.batch = batch
            var target = SearchTarget()
            target.firstTokenSeconds = ttftMilliseconds.map { $0 / 1e3 }
            target.outputSeconds = tpotMilliseconds.map { $0 / 1e3 }
            target.tokensPerSecond = tokensPerSecond
            target.dollarsPerHour = budget
            let found = try Recommendation(request, target: target)
            if let svg { try writeText(found.plot(request).svg(), to: svg) }
            let roles = try roles(found, request, target)
            if json {
                try printObject(Report(plans: found, roles: roles))
            } else {
                print(found.text(request.phase))
                for role in roles { print(role.text) }
            }
        }
    }

    private func roles(
        _ found: Recommendation, _ request: PlanRequest, _ target: SearchTarget
    ) throws -> [Role] {
        guard let answerTokens, request.phase == .decode else { return [] }
        var reading = request
        reading.phase = .prefill
        var limit = SearchTarget()
        limit.firstTokenSeconds = target.firstTokenSeconds
        guard let prefill = try Recommendation(reading, target: limit).candidates.last else {
            return []
        }
        return found.candidates.map { decode in
            Role(
                prefill: prefill, decode: decode,
                split: RoleSplit(
                    prefill: prefill.tokensPerSecondPerRank,
                    decode: decode.tokensPerSecondPerRank, promptTokens: request.context,
                    answerTokens: answerTokens))
        }
    }

    /// What `--json` prints.
    private struct Report: Encodable {
        let plans: Recommendation
        let roles: [Role]
    }

    /// A plan of decode beside the best one of prefill.
    private struct Role: Encodable {
        let prefill: Candidate
        let decode: Candidate
        let split: RoleSplit

        var text: String {
            "decode EP \(decode.ep) batch \(decode.batch) beside prefill EP \(prefill.ep) batch "
                + "\(prefill.batch): \(Figure.text(split.prefillShare, .share)) of ranks read, "
                + "\(Figure.text(split.outputPerSecondPerRank, .tokensPerSecond)) of answers per "
                + "rank of both"
        }
    }
}

/// Writes a text file.
///
/// - Throws: `CheckpointError` with the path.
func writeText(_ text: String, to path: String) throws {
    do { try Data(text.utf8).write(to: URL(filePath: path)) } catch {
        throw CheckpointError.file(path, fact: "cannot be written")
    }
}
