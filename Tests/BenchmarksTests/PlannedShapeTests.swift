import Foundation
import Models
import Planner
import Testing

/// The planner reads `config.json` by itself. For models that Apus runs, the reader that runs them
/// is the reference.
@Suite struct PlannedShapeTests {
    private static let published = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Golden/published-configurations.json").standardized

    /// Models whose attention the planner describes, some keys left out and others replaced.
    static let models: [(String, without: [String], changes: String)] = [
        ("DeepSeek-R1", [], "{}"), ("DeepSeek-V3.2", [], "{}"), ("Kimi-K2-Instruct", [], "{}"),
        ("Kimi-K2.5", [], "{}"), ("GLM-5.1", [], "{}"), ("GLM-5.2", [], "{}"),
        ("Qwen3-30B-A3B", [], "{}"), ("GLM-4.5", [], "{}"), ("MiniMax-M2", [], "{}"),
        ("MiniMax-M2", ["head_dim"], "{}"),
        ("DeepSeek-R1", [], #"{"moe_layer_freq": 2}"#),
        ("DeepSeek-R1", ["first_k_dense_replace"], #"{"moe_layer_freq": 3}"#),
        (
            "DeepSeek-R1", ["first_k_dense_replace", "moe_layer_freq"],
            #"{"num_hidden_layers": 4, "mlp_layer_types": ["dense", "sparse", "dense", "sparse"]}"#
        ),
        (
            "DeepSeek-R1", ["first_k_dense_replace"],
            #"{"num_hidden_layers": 4, "moe_layer_freq": [0, 0, 1, 0]}"#
        ),
        (
            "Qwen3-30B-A3B", [], #"{"decoder_sparse_step": 2, "mlp_only_layers": [3, 4]}"#
        ),
    ]

    private static func file(
        _ name: String, without keys: [String], _ changes: String
    ) throws -> URL {
        let root = try JSONSerialization.jsonObject(with: Data(contentsOf: published))
        var model = try #require((root as? [String: Any])?[name] as? [String: Any])
        for key in keys { model[key] = nil }
        let changed = try JSONSerialization.jsonObject(with: Data(changes.utf8))
        for (key, value) in try #require(changed as? [String: Any]) { model[key] = value }
        let file = FileManager.default.temporaryDirectory
            .appending(path: "\(UUID().uuidString).json")
        try JSONSerialization.data(withJSONObject: model).write(to: file)
        return file
    }

    /// What the planner leaves out are norms of queries and keys, and gate biases: fewer than
    /// 100,000 parameters of the smallest network here, which has 30 billion.
    @Test(arguments: models.indices)
    func `the planner and the reader that runs a model see one network`(index: Int) throws {
        let (name, keys, changes) = Self.models[index]
        let file = try Self.file(name, without: keys, changes)
        defer { try? FileManager.default.removeItem(at: file) }
        let run = try ModelConfiguration.parse(Data(contentsOf: file), file: name)
        let planned = try ModelShape(named: file.path(percentEncoded: false))
        #expect(planned.layers == run.layerCount)
        #expect(planned.expertLayers == run.expertLayerCount)
        #expect(planned.hidden == run.hiddenSize)
        #expect(planned.routedExperts == run.routedExpertCount)
        #expect(planned.activeExperts == run.activeExpertCount)
        let parameters = Double(run.parameterCounts.total)
        #expect(abs(planned.totalParameters - parameters) < 1e-5 * parameters)
    }
}
