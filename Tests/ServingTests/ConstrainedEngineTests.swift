import Language
import Tensors
import TestSupport
import Testing

@testable import Benchmarks
@testable import Grammar
@testable import Models
@testable import Serving

/// Finds every token alike: what is chosen is the constraint's and the seed's doing.
final class IndifferentNetwork: SequenceNetwork {
    let vocabularySize = 269
    let contextLimit = 4096
    let blockCount = 64
    let blockTokens = 16
    let endTokens = [268]
    let canDraft = false
    let draftsAlone = true
    let sharesExperts = false

    func forward(_ chunks: [SequenceChunk], keepsHidden: Bool) throws -> ForwardResult {
        let rows = chunks.count { $0.wanted == .last }
        return ForwardResult(logits: Tensor(rows: rows, columns: vocabularySize), hidden: nil)
    }

    func forward(
        _ first: [SequenceChunk], _ second: [SequenceChunk], keepsHidden: Bool
    ) throws -> (ForwardResult, ForwardResult) {
        (
            try forward(first, keepsHidden: keepsHidden),
            try forward(second, keepsHidden: keepsHidden)
        )
    }

    func draft(_ chunks: [SequenceChunk], hidden: Tensor) throws -> ForwardResult {
        try forward(chunks, keepsHidden: false)
    }

    func takeTime() -> StepTime { StepTime() }

    func record(to recorder: RankRecorder) {}
}

@Suite struct ConstrainedEngineTests {
    /// What became of some requests that arrived together.
    struct Outcome: Equatable {
        var tokens: [RequestID: [Int]] = [:]
        var finished: Set<RequestID> = []
        var failures: [RequestID: ServingError] = [:]
        /// Steps between two tokens of one request, at most.
        var longestWait = 0
        var steps = 0
    }

    static func run(
        _ constraints: [OutputConstraint], constraintSteps: Int = 1 << 24
    ) -> Outcome {
        var configuration = EngineConfiguration()
        configuration.constraintSteps = constraintSteps
        let core = BatchingEngine(
            IndifferentNetwork(), configuration: configuration,
            vocabulary: { ConstraintExamples.vocabulary })
        for (index, constraint) in constraints.enumerated() {
            var request = GenerationRequest(
                id: RequestID(rawValue: UInt64(index + 1)), prompt: [1, 2, 3 + index],
                maxNewTokens: 24)
            request.constraint = constraint
            request.sampling.temperature = 1
            request.sampling.seed = UInt64(index)
            core.submit(request)
        }
        var outcome = Outcome()
        var last: [RequestID: Int] = [:]
        while core.scheduler.hasWork, outcome.steps < 2000 {
            outcome.steps += 1
            if case .step(let plan) = core.prepare() { _ = try? core.step(plan, []) }
            for report in core.takeReports() {
                switch report.event {
                case .began: break
                case .tokens(let tokens):
                    outcome.tokens[report.id, default: []] += tokens.map(\.token)
                    outcome.longestWait = max(
                        outcome.longestWait, outcome.steps - (last[report.id] ?? 0))
                    last[report.id] = outcome.steps
                case .finished: outcome.finished.insert(report.id)
                case .failed(let error): outcome.failures[report.id] = error
                }
            }
        }
        return outcome
    }

    static let constraints: [OutputConstraint] =
        ConstraintExamples.wide.map { ConstraintExamples.schema($0) }
        + [.jsonObject, .jsonSchema(#"{"type":"array","items":{"type":"integer"}}"#)]

    @Test func `texts that wait for their share of a step are the same, and none starves`() {
        // The patterns that need hundreds of bytes are refused at once with 24 tokens.
        let together = Self.run(Self.constraints)
        let waiting = Self.run(Self.constraints, constraintSteps: 1)
        #expect(together.finished.count >= 6)
        #expect(together.finished.count + together.failures.count == Self.constraints.count)
        #expect(waiting.tokens == together.tokens)
        #expect(waiting.finished == together.finished)
        #expect(together.longestWait == 1)
        #expect(waiting.steps > together.steps)
        #expect(waiting.longestWait > 1 && waiting.longestWait <= Self.constraints.count)
    }

    @Test func `a schema that is too expensive fails alone, and its error names the limit`()
        throws
    {
        let dear = ConstraintExamples.schema(ConstraintExamples.dear)
        let alone = Self.run([.jsonObject])
        let beside = Self.run([.jsonObject, dear, dear])
        #expect(beside.tokens[RequestID(rawValue: 1)] == alone.tokens[RequestID(rawValue: 1)])
        #expect(beside.finished == [RequestID(rawValue: 1)])
        for id in [2, 3] {
            let error = try #require(beside.failures[RequestID(rawValue: UInt64(id))])
            #expect(error.message.contains("\(GrammarAutomaton.WalkLimits().steps) steps"))
        }
        // Also where nothing else is there to be computed.
        #expect(Self.run([dear]).failures.count == 1)
    }

    @Test func `a document that may only end ends, also where ends are forbidden`() throws {
        var request = GenerationRequest(
            id: RequestID(rawValue: 1), prompt: [0], maxNewTokens: 3)
        request.constraint = .choice(["a", "abcdefghijklm"])
        request.ignoresEndTokens = true
        request.sampling = .greedy
        var active = try ActiveRequest(
            request, constraint: CompiledGrammars().compiled(.choice(["a", "abcdefghijklm"])),
            vocabulary: { ConstraintExamples.vocabulary })
        let logits = [Float](repeating: 0, count: 269)
        let first = try active.choose(from: logits.span, endTokens: [268])
        #expect(first?.token == Int(UInt8(ascii: "a")))
        #expect(try active.choose(from: logits.span, endTokens: [268]) == nil)
        #expect(active.finish == .stop)
    }
}
