import Foundation
import Testing

@testable import Planner

/// Shapes from `config.json`.
@Suite struct ModelShapeTests {
    static let golden = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Golden/deepseek-v3").standardized.path(percentEncoded: false)

    @Test func `the published config of DeepSeek-V3 gives the shape that its name gives`() throws {
        var shape = try ModelShape(named: Self.golden)
        shape.name = "deepseek-v3"
        #expect(shape == .deepSeekV3)
        #expect(try ModelShape(named: "DeepSeek-V3") == .deepSeekV3)
    }

    /// The sizes that their makers announce, in billions; half of the last digit is rounding, and
    /// some count the block of multi-token prediction.
    @Test(arguments: [
        ("Qwen3-30B-A3B", 30.5, 3.3, 2 * 4 * 128), ("GLM-4.5", 355, 32, 2 * 8 * 128),
        ("MiniMax-M2", 230, 10, 2 * 8 * 128),
    ])
    func `models with grouped queries have the sizes that their makers announce`(
        name: String, total: Double, activated: Double, cache: Int
    ) throws {
        let file = URL(filePath: Self.golden).appending(path: "../published-configurations.json")
        let root = try JSONSerialization.jsonObject(with: Data(contentsOf: file))
        let model = try #require((root as? [String: Any])?[name])
        let config = FileManager.default.temporaryDirectory
            .appending(path: "\(UUID().uuidString).json")
        defer { try? FileManager.default.removeItem(at: config) }
        try JSONSerialization.data(withJSONObject: model).write(to: config)
        let shape = try ModelShape(named: config.path(percentEncoded: false))
        #expect(abs(shape.totalParameters / 1e9 / total - 1) < 0.01)
        #expect(abs(shape.multipliedParameters / 1e9 / activated - 1) < 0.1)
        #expect(shape.cacheWidth == cache)
    }

    @Test func `an indexer is counted, and bounds what attention reads`() throws {
        let text = try String(contentsOfFile: Self.golden + "/config.json", encoding: .utf8)
        let keys = """
            {"index_topk": 2048, "index_n_heads": 64, "index_head_dim": 128,
            """
        let file = FileManager.default.temporaryDirectory
            .appending(path: "\(UUID().uuidString).json").path(percentEncoded: false)
        try (keys + text.drop { $0 != "{" }.dropFirst())
            .write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        let sparse = try ModelShape(named: file)
        let dense = ModelShape.deepSeekV3
        // Of DeepseekV32ForCausalLM in Transformers 5.23: wq_b, wk, weights_proj, k_norm.
        #expect(sparse.totalParameters - dense.totalParameters == 61 * 13_959_424)
        #expect(sparse.cacheBytesPerToken() == 61 * 2 * (576 + 128))
        #expect(sparse.readTokens(context: 1000) == 1000)
        #expect(sparse.readTokens(context: 100_000) == 2048)
        #expect(sparse.indexWork(context: 1000).values == 0)
        #expect(sparse.indexWork(context: 100_000).values == 100_000 * 128)
        #expect(dense.readTokens(context: 100_000) == 100_000)
        #expect(sparse.promptWork(sequence: 2048).read == 1024)
        #expect(sparse.promptWork(sequence: 2048).indexOperations == 0)
        #expect(sparse.promptWork(sequence: 4096).read == 1536)
        #expect(sparse.promptWork(sequence: 4096).indexOperations == 1536 * 128 * 64)
        #expect(dense.promptWork(sequence: 4096).read == 2048)
    }

    @Test func `a folder that is not there is named, with the models known by name`() throws {
        let error = #expect(throws: PlanError.self) { try ModelShape(named: "/no/such") }
        let text = "\(try #require(error))"
        #expect(text.hasPrefix("/no/such/config.json: ") && text.contains("deepseek-v3"))
    }

    @Test(arguments: [
        ("\"hidden_size\": 0", "hidden_size", "0 is not 1 to"),
        ("\"hidden_size\": \"wide\"", "the text", "hidden_size is not of type"),
        ("\"topk_group\": 9", "topk_group", "9 is not 1 to"),
        ("\"hidden\": 1", "the text", "hidden_size is missing"),
    ])
    func `a bad config is refused by key`(pair: String, key: String, words: String) throws {
        var text = try String(contentsOfFile: Self.golden + "/config.json", encoding: .utf8)
        let name = pair.split(separator: "\"")[0]
        let target = name == "hidden" ? "hidden_size" : String(name)
        text = text.replacing(try Regex("\"\(target)\": *[^,\\n}]+"), with: pair)
        let file = FileManager.default.temporaryDirectory
            .appending(path: "\(UUID().uuidString).json")
        try Data(text.utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let error = #expect(throws: PlanError.self) {
            try ModelShape(named: file.path(percentEncoded: false))
        }
        let line = "\(try #require(error))"
        #expect(line.contains(key) && line.contains(words), "\(line)")
    }
}
