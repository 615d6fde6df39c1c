import Checkpoints
import Encoding
import Foundation
import Language
import Tensors
import Testing
import Topology

@testable import Serving

/// Engines of several ranks as threads, and the events of requests sent to them.
struct EngineRun {
    /// What the ranks are given.
    struct Setting: Sendable {
        var ranks = 1
        var engine = EngineConfiguration()
        var blocks = 64
        var blockTokens = 16
        var folder = Golden.tiny
        var prefixes: PrefixSettings?
        var cacheFormat: EntryFormat?
        var warn: @Sendable (String) -> Void = { _ in }
        /// Ranks of several roles, instead of `ranks`.
        var groups: RankGroupMap?
        /// When a group gets the other role.
        var roleRule: RoleRule?
    }

    /// What became of a request.
    struct Outcome: Sendable {
        var promptScores: [ScoredToken] = []
        var tokens: [Int] = []
        var finish: FinishReason?
        var usage = GenerationUsage()
    }

    let ranks: LocalRanks

    init(_ setting: Setting = Setting()) throws {
        var rank = ServingRankConfiguration(directory: setting.folder)
        rank.compute = .float32
        // Every rank takes requests, whatever this machine has.
        rank.cores = setting.ranks
        rank.engine = setting.engine
        rank.prefixes = setting.prefixes
        rank.cacheFormat = setting.cacheFormat
        rank.warn = setting.warn
        rank.blockTokens = setting.blockTokens
        rank.cacheTokens = setting.blocks * setting.blockTokens
        guard let groups = setting.groups else {
            ranks = try LocalRanks(rank, ranks: setting.ranks)
            return
        }
        rank.cores = groups.rankCount
        ranks = try LocalRanks(rank, groups: groups, roleRule: setting.roleRule)
    }

    func outcome(_ request: GenerationRequest) async throws -> Outcome {
        var outcome = Outcome()
        for try await event in try await ranks.router.submit(request) {
            switch event {
            case .began(let scores): outcome.promptScores = scores
            case .tokens(let tokens): outcome.tokens += tokens.map(\.token)
            case .finished(let reason, let usage):
                outcome.finish = reason
                outcome.usage = usage
            case .failed: break
            }
        }
        return outcome
    }

    /// Sends all requests at once and waits for all.
    func generate(_ requests: [GenerationRequest]) async throws -> [[Int]] {
        try await withThrowingTaskGroup(of: (RequestID, [Int]).self) { group in
            for request in requests {
                group.addTask { (request.id, try await outcome(request).tokens) }
            }
            var texts: [RequestID: [Int]] = [:]
            for try await (id, tokens) in group { texts[id] = tokens }
            return requests.map { texts[$0.id] ?? [] }
        }
    }

    static func with<Value>(
        _ setting: Setting = Setting(), _ body: (EngineRun) async throws -> Value
    ) async throws -> Value {
        let run = try EngineRun(setting)
        defer { run.ranks.stop() }
        return try await body(run)
    }
}

enum Golden {
    static let tests = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "..").standardized
    static let tiny = tests.appending(path: "Golden/T-fp8").path(percentEncoded: false)
    static let stories = tests.appending(path: "../cluster/models/stories-fp8").standardized.path(
        percentEncoded: false)
}

@Suite struct EngineTests {
    /// Requests with shared and own beginnings, all greedy unless a temperature is given.
    static func requests(
        _ count: Int, tokens: Int = 12, temperature: Double = 0
    ) -> [GenerationRequest] {
        (0 ..< count).map { index in
            var random = SplitMix64(seed: UInt64(index / 2))
            let length = 5 + index * 7 % 40
            let stem = (0 ..< length).map { _ in Int.random(in: 3 ..< 1000, using: &random) }
            var request = GenerationRequest(
                id: RequestID(rawValue: UInt64(index + 1)), prompt: stem + [index + 3],
                maxNewTokens: tokens)
            request.ignoresEndTokens = true
            request.sampling.temperature = temperature
            request.sampling.seed = UInt64(index)
            return request
        }
    }

    static func texts(
        _ setting: EngineRun.Setting, temperature: Double = 0
    ) async throws -> [[Int]] {
        try await EngineRun.with(setting) {
            try await $0.generate(requests(9, temperature: temperature))
        }
    }

    /// One request at a time on one rank, nothing shared, nothing drafted.
    static func alone(temperature: Double = 0) async throws -> [[Int]] {
        var setting = EngineRun.Setting()
        setting.engine.speculates = false
        setting.engine.overlaps = false
        setting.engine.usesPrefixCache = false
        return try await EngineRun.with(setting) { run in
            var texts: [[Int]] = []
            for request in requests(9, temperature: temperature) {
                texts.append(try await run.outcome(request).tokens)
            }
            return texts
        }
    }

    @Test(arguments: [0.0, 0.8])
    func `texts are the same for any ranks, batch, overlap, drafts and prefix cache`(
        temperature: Double
    ) async throws {
        let expected = try await Self.alone(temperature: temperature)
        #expect(expected.allSatisfy { $0.count == 12 })
        for ranks in [1, 2, 3, 4, 8] {
            // Bit 3 matters only where experts could be shared.
            for bits in ranks == 1 ? Array(0 ..< 8) : [0, 7, 15, ranks] {
                var setting = EngineRun.Setting(ranks: ranks)
                setting.engine.overlaps = bits & 1 != 0
                setting.engine.overlapThreshold = 0
                setting.engine.speculates = bits & 2 != 0
                setting.engine.draftCopyBytes = bits & 8 != 0 ? 64 << 20 : 0
                setting.engine.sharedHeadBytes = bits & 1 != 0 ? 0 : 1 << 40
                setting.engine.sharedRows = bits & 4 != 0 ? 32 : 0
                setting.engine.usesPrefixCache = bits & 4 != 0
                setting.engine.stepTokens = 96
                setting.engine.promptTokensBesideStreams = 16
                let texts = try await Self.texts(setting, temperature: temperature)
                #expect(texts == expected, "\(ranks) ranks, options \(bits)")
            }
        }
    }

    @Test(arguments: [0.0, 0.8])
    func `a text that all ranks compute together is the text of one rank`(
        temperature: Double
    ) async throws {
        let expected = try await Self.alone(temperature: temperature)
        for (ranks, drafts) in [(2, false), (2, true), (4, true)] {
            for sharedRows in [0, 2, 32] {
                var setting = EngineRun.Setting(ranks: ranks)
                setting.engine.overlapThreshold = 0
                setting.engine.speculates = drafts
                setting.engine.draftCopyBytes = sharedRows == 2 ? 0 : 64 << 20
                setting.engine.sharedRows = sharedRows
                let texts = try await EngineRun.with(setting) { run in
                    var texts: [[Int]] = []
                    for request in Self.requests(9, temperature: temperature) {
                        texts.append(try await run.outcome(request).tokens)
                    }
                    return texts
                }
                #expect(texts == expected, "\(ranks) ranks, \(drafts), \(sharedRows) rows")
            }
        }
    }

    @Test func `texts are the same when blocks run out and requests are preempted`() async throws {
        let expected = try await Self.alone()
        var setting = EngineRun.Setting(blocks: 9, blockTokens: 8)
        setting.engine.stepTokens = 64
        let texts = try await Self.texts(setting)
        #expect(texts == expected)
    }

    @Test func `a cancelled request ends and the others go on`() async throws {
        try await EngineRun.with { run in
            var requests = Self.requests(2, tokens: 150)
            requests[1].maxNewTokens = 8
            let stream = try await run.ranks.router.submit(requests[0])
            await run.ranks.router.cancel(requests[0].id)
            let other = try await run.outcome(requests[1])
            #expect(other.tokens.count == 8)
            var finish: FinishReason?
            for try await event in stream {
                if case .finished(let reason, _) = event { finish = reason }
            }
            #expect(finish == .cancelled)
        }
    }

    @Test func `prompt scores are the log-probabilities of the prompt`() async throws {
        try await EngineRun.with { run in
            var request = Self.requests(6)[5]
            request.maxNewTokens = 1
            request.promptTopLogprobs = 2
            request.topLogprobs = 2
            let scores = try await run.outcome(request).promptScores
            #expect(scores.map(\.token) == request.prompt)
            #expect(scores[0].logprob == nil)
            for score in scores.dropFirst() {
                let logprob = try #require(score.logprob)
                #expect(logprob < 0 && logprob.isFinite)
                #expect(score.top.count == 2 && score.top[0].logprob >= score.top[1].logprob)
                #expect(score.top[0].logprob >= logprob)
            }
        }
    }

    @Test func `idle ranks sleep while one works and all wake for it`() async throws {
        try await EngineRun.with(EngineRun.Setting(ranks: 3)) { run in
            var texts: [[Int]] = []
            for id in UInt64(1) ... 3 {
                var request = Self.requests(1)[0]
                request.id = RequestID(rawValue: id)
                try await Task.sleep(for: .milliseconds(50))
                texts.append(try await run.outcome(request).tokens)
            }
            #expect(texts[0] == texts[1] && texts[1] == texts[2])
            #expect(run.ranks.statistics.map(\.steps).allSatisfy { $0 > 10 })
        }
    }

    @Test(arguments: [1, 2]) func `the golden continuation comes out`(ranks: Int) async throws {
        let golden = try GoldenTexts(
            Golden.tests.appending(path: "Golden/T-f32").path(percentEncoded: false))
        #expect(!golden.texts.isEmpty)
        var setting = EngineRun.Setting(ranks: ranks)
        setting.folder = Golden.tests.appending(path: "Golden/T-f32").path(percentEncoded: false)
        try await EngineRun.with(setting) { run in
            for (index, text) in golden.texts.enumerated() {
                var request = GenerationRequest(
                    id: RequestID(rawValue: UInt64(index + 1)), prompt: text.prompt,
                    maxNewTokens: text.greedy.count)
                request.sampling = .greedy
                request.ignoresEndTokens = true
                let tokens = try await run.outcome(request).tokens
                #expect(tokens == text.greedy)
            }
        }
    }
}

/// Prompts of a golden folder and their greedy continuations.
struct GoldenTexts {
    var texts: [(prompt: [Int], greedy: [Int])] = []

    init(_ directory: String) throws {
        try self.init(file: directory + "/expected_f32.safetensors")
    }

    init(file path: String) throws {
        let file = try MappedFile(path: path)
        let header = try Checkpoint.readHeader(file)
        func integers(_ name: String) -> [Int]? {
            guard let entry = header.tensors.first(where: { $0.name == name }) else { return nil }
            let bytes = file.copyBytes(entry.bytes)
            return stride(from: 0, to: bytes.count, by: 4).map { start in
                bytes[start ..< start + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
            }
        }
        for index in 0 ..< 5 {
            guard let prompt = integers("p\(index).input_ids"),
                let greedy = integers("p\(index).greedy")
            else { break }
            texts.append((prompt, greedy))
        }
    }
}
