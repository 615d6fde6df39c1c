import Encoding
import Foundation
import Language
import Models
import Tensors
import Testing
import Topology

@testable import Serving

/// Prompts that one rank computes and another continues.
@Suite struct HandoverTests {
    /// Ranks of two roles, in groups of their own.
    static func groups(prefill: [Int] = [1], decode: [Int] = [1]) throws -> RankGroupMap {
        func groups(_ role: RankRole, _ counts: [Int]) -> [RankGroup] {
            counts.enumerated().map {
                RankGroup(name: "\(role)-\($0)", role: role, rankCount: $1)
            }
        }
        return try RankGroupMap(groups(.prefill, prefill) + groups(.decode, decode))
    }

    static func setting(
        prefill: [Int] = [1], decode: [Int] = [1], folder: String = Golden.tiny
    ) throws -> EngineRun.Setting {
        var setting = EngineRun.Setting()
        setting.folder = folder
        setting.groups = try groups(prefill: prefill, decode: decode)
        setting.engine.handoverTokens = 16
        // Prompts take several steps, so that entries travel between them.
        setting.engine.stepTokens = 64
        setting.engine.promptTokensBesideStreams = 24
        return setting
    }

    /// Prompts of some hundred tokens; every second one begins as that before it.
    static func requests(
        _ count: Int, tokens: Int = 12, temperature: Double = 0, below limit: Int = 90
    ) -> [GenerationRequest] {
        (0 ..< count).map { index in
            var random = SplitMix64(seed: UInt64(index / 2))
            let stem = (0 ..< 50 + index / 2 * 17).map { _ in
                Int.random(in: 3 ..< limit, using: &random)
            }
            var request = GenerationRequest(
                id: RequestID(rawValue: UInt64(index + 1)), prompt: stem + [index + 3],
                maxNewTokens: tokens)
            request.ignoresEndTokens = true
            request.sampling.temperature = temperature
            request.sampling.seed = UInt64(index)
            return request
        }
    }

    /// Runs ranks of several roles once all are linked.
    static func with<Value>(
        _ setting: EngineRun.Setting, _ body: (EngineRun) async throws -> Value
    ) async throws -> Value {
        let groups = try #require(setting.groups)
        let counts = Dictionary(grouping: groups.groups, by: \.role).mapValues {
            $0.reduce(0) { $0 + $1.rankCount }
        }
        return try await EngineRun.with(setting) { run in
            try await Wait.until("all ranks are linked") {
                run.ranks.statistics.enumerated().allSatisfy { index, statistics in
                    let isPrefill =
                        groups.group(of: Rank(rawValue: index)).group.role == .prefill
                    return statistics.handovers?.links == counts[isPrefill ? .decode : .prefill]
                }
            }
            return try await body(run)
        }
    }

    static func received(_ run: EngineRun) -> UInt64 {
        run.ranks.statistics.reduce(0) { $0 + ($1.handovers?.promptsReceived ?? 0) }
    }

    /// Nothing is asked meanwhile, so a rank that is idle stays so.
    private static func waitUntilIdle(_ run: EngineRun) async throws {
        try await Wait.until("no rank holds a request") {
            run.ranks.statistics.allSatisfy { $0.running == 0 && $0.blocksInUse == 0 }
        }
    }

    private static func computed(_ run: EngineRun) -> UInt64 {
        run.ranks.statistics.reduce(0) { $0 + $1.promptTokens + $1.generatedTokens }
    }

    static func alone(
        _ requests: [GenerationRequest], folder: String = Golden.tiny
    ) async throws -> [[Int]] {
        var setting = EngineRun.Setting()
        setting.folder = folder
        setting.engine.speculates = false
        setting.engine.usesPrefixCache = false
        return try await EngineRun.with(setting) { run in
            var texts: [[Int]] = []
            for request in requests { texts.append(try await run.outcome(request).tokens) }
            return texts
        }
    }

    @Test(arguments: [0.0, 0.8], [([1], [1]), ([1, 1], [2]), ([2], [1, 1])])
    func `texts are the same whoever computes the prompts`(
        temperature: Double, roles: ([Int], [Int])
    ) async throws {
        let requests = Self.requests(9, temperature: temperature)
        let expected = try await Self.alone(requests)
        #expect(expected.allSatisfy { $0.count == 12 })
        try await Self.with(try Self.setting(prefill: roles.0, decode: roles.1)) { run in
            let texts = try await run.generate(requests)
            #expect(texts == expected)
            #expect(Self.received(run) > 0)
            let prefill = roles.0.reduce(0, +)
            for statistics in run.ranks.statistics.prefix(prefill) {
                #expect(statistics.generatedTokens == 0 && statistics.blocksInUse == 0)
            }
            // A second time most of each prompt lies in the decode ranks' own caches.
            let again = try await run.generate(requests)
            #expect(again == expected)
        }
    }

    /// Shapes of caches: grouped queries, and keys of an index beside latents.
    static let shapes = [
        """
        {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 96,
         "intermediate_size": 128, "moe_intermediate_size": 64, "num_hidden_layers": 3,
         "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32, "num_experts": 8,
         "num_experts_per_tok": 3, "norm_topk_prob": true, "decoder_sparse_step": 1,
         "attention_bias": true, "mlp_only_layers": [1], "vocab_size": 300,
         "max_position_embeddings": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000,
         "initializer_range": 0.08}
        """,
        """
        {"architectures": ["DeepseekV32ForCausalLM"], "model_type": "deepseek_v32",
         "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32,
         "num_hidden_layers": 2, "first_k_dense_replace": 1, "num_attention_heads": 4,
         "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 1,
         "n_group": 1, "topk_group": 1, "q_lora_rank": 48, "kv_lora_rank": 32,
         "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16, "vocab_size": 100,
         "max_position_embeddings": 2048, "index_topk": 8, "index_n_heads": 4,
         "index_head_dim": 32}
        """,
    ]

    @Test(arguments: shapes)
    func `every kind of cache entry is handed over`(shape: String) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: "shape.json").path(percentEncoded: false)
        try Data(shape.utf8).write(to: URL(filePath: file))
        let model = folder.appending(path: "model").path(percentEncoded: false)
        try RandomCheckpoint(configurationFile: file, seed: 3, format: .bfloat16)
            .write(to: model, pool: ThreadPool(threads: 1))
        for temperature in [0, 0.8] {
            let requests = Self.requests(6, temperature: temperature)
            let expected = try await Self.alone(requests, folder: model)
            #expect(Set(expected).count > 1)
            try await Self.with(try Self.setting(folder: model)) { run in
                let texts = try await run.generate(requests)
                #expect(texts == expected)
                #expect(Self.received(run) > 0)
            }
        }
    }

    @Test func `cached tokens are those of one group, wherever the prefix lies`() async throws {
        let requests = Self.requests(2)
        var usages: [[Int]] = []
        var settings = [EngineRun.Setting(), try Self.setting()]
        settings[0].engine = settings[1].engine
        for setting in settings {
            let body: (EngineRun) async throws -> [Int] = { run in
                var cached: [Int] = []
                for round in UInt64(0) ..< 2 {
                    for request in requests {
                        var request = request
                        request.id = RequestID(rawValue: request.id.rawValue + round * 10)
                        cached.append(try await run.outcome(request).usage.cachedTokens)
                    }
                }
                return cached
            }
            usages.append(
                try await setting.groups == nil
                    ? EngineRun.with(setting, body) : Self.with(setting, body))
        }
        #expect(usages[0] == usages[1] && usages[0][3] == 48, "\(usages)")
    }

    @Test func `prompts of a prefill rank that is lost are computed elsewhere`() async throws {
        let requests = Self.requests(24, tokens: 40)
        let expected = try await Self.alone(requests)
        for prefill in [[1], [1, 1]] {
            try await Self.with(try Self.setting(prefill: prefill)) { run in
                async let texts = run.generate(requests)
                try await Wait.until("a prompt is received") { Self.received(run) > 0 }
                run.ranks.engines[0].stop()
                run.ranks.router.goOn(without: 0, reason: "stopped", recovering: [])
                #expect(try await texts == expected)
                #expect(run.ranks.router.health == .degraded(lost: [0]))
                var more = requests[0]
                more.id = RequestID(rawValue: 100)
                #expect(try await run.outcome(more).tokens == expected[0])
            }
        }
    }

    @Test func `texts of a decode rank that is lost go on, and without any at a prefill rank`()
        async throws
    {
        let requests = Self.requests(8, tokens: 200)
        let expected = try await Self.alone(requests)
        for decode in [[1], [1, 1]] {
            try await Self.with(try Self.setting(decode: decode)) { run in
                async let texts = run.generate(requests)
                try await Wait.until("a prompt is received") { Self.received(run) > 0 }
                run.ranks.router.goOn(without: 1, reason: "stopped", recovering: [])
                run.ranks.engines[1].dropAll()
                #expect(try await texts == expected)
            }
        }
    }

    @Test func `a reader that leaves while its prompt travels releases both sides`() async throws {
        try await Self.with(try Self.setting()) { run in
            for request in Self.requests(24) {
                // What the one before it still computes is not counted for this one.
                try await Self.waitUntilIdle(run)
                let before = Self.computed(run)
                let task = Task { try await run.outcome(request).tokens }
                // A count that only grows, of both ranks: a request may be over between two reads
                // of it, and the second rank computes the rest of a prompt that it knows.
                try await Wait.until("a token") { Self.computed(run) > before }
                task.cancel()
                _ = try? await task.value
            }
            try await Self.waitUntilIdle(run)
            let requests = Self.requests(2)
            let expected = try await Self.alone(requests)
            let texts = try await run.generate(requests)
            #expect(texts == expected)
        }
    }

    @Test func `texts are the same where blocks are few`() async throws {
        let requests = Self.requests(9, tokens: 30)
        var setting = try Self.setting()
        setting.blocks = 16
        let expected = try await Self.alone(requests)
        try await Self.with(setting) { run in
            let texts = try await run.generate(requests)
            #expect(texts == expected)
        }
    }

    @Test func `a prefill rank reads what files have of a prompt, and computes the rest`()
        async throws
    {
        let known = Self.requests(1)[0]
        var longer = known
        longer.id = RequestID(rawValue: 2)
        longer.prompt += (0 ..< 40).map { 3 + $0 * 5 % 80 }
        let expected = try await Self.alone([longer])
        try await PrefixFileTests.withFolder { folder in
            var setting = try Self.setting()
            setting.prefixes = PrefixSettings(folder: folder, byteLimit: 1 << 30)
            _ = try await Self.with(setting) { run in try await run.outcome(known) }
            // Both ranks begin anew; three blocks of 16 tokens are in files.
            try await Self.with(setting) { run in
                let tokens = try await run.outcome(longer).tokens
                #expect(tokens == expected[0])
                let statistics = run.ranks.statistics
                #expect(statistics[1].handovers?.promptsReceived == 1)
                #expect(statistics.map { $0.prefixFiles?.restoredTokens } == [48, 48])
                let computed = longer.prompt.count - 1 - 48
                #expect(statistics[0].promptTokens == UInt64(computed))
            }
        }
    }
}
