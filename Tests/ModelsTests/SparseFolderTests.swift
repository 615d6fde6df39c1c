import Checkpoints
import Encoding
import Foundation
import Tensors
import TestSupport
import Testing

@testable import Models

/// What a folder says of its indexers: in `config.json`, in its tensors, and in sizes.
@Suite final class SparseFolderTests {
    let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")

    init() throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    private func text(_ changes: [(String, JSONValue)]) -> Data {
        var members = SparseModelTests.glm
        for (key, value) in changes {
            members.removeAll { $0.0 == key }
            members.append((key, value))
        }
        return Data(JSONValue.object(members).encoded().utf8)
    }

    private func shape(_ changes: [(String, JSONValue)]) throws -> ModelConfiguration {
        try ModelConfiguration.parse(text(changes), file: "c")
    }

    /// A checkpoint of one configuration, beside the `config.json` of another.
    private func folder(
        of made: [(String, JSONValue)], described: [(String, JSONValue)]
    ) throws -> String {
        let file = folder.appending(path: "\(UUID()).json")
        try text(made).write(to: file)
        let path = folder.appending(path: "\(UUID())").path
        try RandomCheckpoint(configurationFile: file.path, seed: 5, format: .bfloat16)
            .write(to: path, pool: ThreadPool(threads: 2))
        try text(described).write(to: URL(filePath: path + "/config.json"))
        return path
    }

    private static let full: [(String, JSONValue)] = [("indexer_types", .null)]

    @Test func `a block without the tensors of its indexer is refused by their name`() throws {
        let path = try folder(of: [], described: Self.full)
        let error = #expect(throws: (any Error).self) {
            try ModelFolder(directory: path).check()
        }
        let line = "\(try #require(error))"
        #expect(line.contains("model.layers.1.self_attn.indexer.wq_b.weight"), "\(line)")
    }

    @Test func `an indexer in a block that shares a choice is refused by its name`() throws {
        let path = try folder(of: Self.full, described: [])
        let error = #expect(throws: CheckpointError.self) { try ModelFolder(directory: path) }
        let line = "\(try #require(error))"
        #expect(line.contains("model.layers.1.self_attn.indexer.k_norm.bias"), "\(line)")
        #expect(line.contains("config.json (indexer_types) makes block 1 share"), "\(line)")
    }

    @Test func `a whole folder has no notes`() throws {
        let path = try folder(of: [], described: [])
        let whole = try ModelFolder(directory: path)
        try whole.check()
        #expect(whole.notes.isEmpty && whole.configuration.contextLimit == 512)
    }

    @Test(
        arguments: [
            ("indexer_types", ["full", "shared"], "lists 2 blocks; num_hidden_layers is 4"),
            ("indexer_types", ["full", "full", "full", "half"], "half is neither full nor shared"),
            ("indexer_types", ["shared", "full", "full", "full"], "makes block 0 shared"),
            ("index_topk_pattern", "FSF", "lists 3 blocks"),
            ("index_topk_pattern", "FSFX", "X is neither F nor S"),
            ("index_topk_pattern", "SFFF", "makes block 0 S"),
            ("index_topk_freq", -1, "-1 is outside 0...1024"),
            ("index_skip_topk_offset", 9_000_000_000_000_000_000, "is outside 0...1024"),
            ("index_n_heads", 0, "0 is outside 1...4096"),
            ("index_n_heads", .number(2.5), "2.5 is not a whole number"),
            ("index_head_dim", 6, "6 is outside 8...4096 (its first qk_rope_head_dim values"),
            ("index_topk", 0, "0 is outside 1..."),
            ("q_lora_rank", .null, "the indexer's queries are made of compressed ones"),
        ] as [(String, JSONValue, String)])
    func `a wrong description of the indexer is refused by its key`(
        key: String, value: JSONValue, fact: String
    ) throws {
        let others = key == "indexer_types" ? [] : Self.full
        let error = #expect(throws: ModelError.self) {
            try self.shape(others + [(key, value)])
        }
        let line = "\(try #require(error))"
        #expect(line.hasPrefix("c: \(key): ") && line.contains(fact), "\(line)")
    }

    @Test func `the older name of sparse attention in layer_types is taken`() throws {
        let types = JSONValue.array(Array(repeating: "deepseek_sparse_attention", count: 4))
        #expect(try shape([("layer_types", types)]).indexer != nil)
    }

    @Test func `a pattern and a stride describe what a list does`() throws {
        let listed = try shape([])
        #expect(listed.indexer?.sharing == [false, true, false, true])
        let spelt = try shape(Self.full + [("index_topk_pattern", "FSFS")])
        let counted = try shape(
            Self.full + [("index_topk_freq", 2), ("index_skip_topk_offset", 1)])
        #expect(spelt == listed && counted == listed)
        // As GLM-5.2: the first three, then every fourth.
        let many = try shape(
            Self.full + [
                ("num_hidden_layers", 12), ("index_topk_freq", 4), ("index_skip_topk_offset", 3),
            ])
        let full = (0 ..< 12).filter { many.hasIndexer(layer: $0) }
        #expect(full == [0, 1, 2, 6, 10] && many.hasIndexer(layer: 12))
        #expect(try ModelConfiguration.parse(many.encoded(), file: "c") == many)
    }

    @Test func `a family says how its indexer turns, unless the file does`() throws {
        let v32: (String, JSONValue) = ("architectures", ["DeepseekV32ForCausalLM"])
        #expect(try shape([]).indexer?.rotatesNeighbours == true)
        #expect(try shape([v32]).indexer?.rotatesNeighbours == false)
        let said: (String, JSONValue) = ("indexer_rope_interleave", true)
        #expect(try shape([v32, said]).indexer?.rotatesNeighbours == true)
    }

    @Test func `sizes count the indexers' weights and keys`() throws {
        let path = try folder(of: [], described: [])
        let shape = try ModelFolder(directory: path).configuration
        // Blocks 0 and 2 and the MTP block keep a key of 24 values beside 5 latents of 40.
        #expect(BlockCache.bytesPerToken(of: shape, format: .bfloat16) == 2 * (5 * 40 + 3 * 24))
        let cache = BlockCache(configuration: shape, format: .float32, blockCount: 1)
        #expect(cache.bytesPerToken == 4 * (5 * 40 + 3 * 24))
        let summary = try ModelSummary(directory: path, configuration: shape)
        #expect(summary.cacheBytesPerToken == 2 * (4 * 40 + 2 * 24))
        let tensors = NetworkTensors(shape)
        let ofMTP = tensors.ofMTP.reduce(0) { $0 + $1.elementCount }
        let all = tensors.all.reduce(0) { $0 + $1.elementCount }
        #expect(summary.totalParameters == all - ofMTP)
    }
}
