import Foundation
import Tensors
import Testing

@testable import Checkpoints
@testable import Models
@testable import Training

/// Every gradient against PyTorch's autograd in float64 (Tests/Golden/Training/autograd.py).
@Suite struct GradientTests {
    static let golden = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Golden/Training").standardized

    @Test func `gradients of a small model agree with the committed autograd`() throws {
        try compare(
            directory: Self.golden.appending(path: "tiny").path(percentEncoded: false), threads: 1)
    }

    /// Random shapes: no query latent, ragged widths, softmax gate, empty experts, groups, no MTP.
    static let shapes = [
        ["q_lora_rank=null", "qk_nope_head_dim=6", "qk_rope_head_dim=10", "v_head_dim=5"],
        ["n_group=1", "topk_group=1", "num_experts_per_tok=3", "n_shared_experts=2"],
        ["n_routed_experts=48", "n_group=8", "topk_group=3", "sequence_length=5", "sequences=1"],
        [
            "scoring_func=\"softmax\"", "topk_method=\"group_limited_greedy\"",
            "norm_topk_prob=false", "routed_scaling_factor=1.5",
        ],
        ["scoring_func=\"softmax\"", "topk_method=\"greedy\"", "n_group=1", "topk_group=1"],
        ["num_nextn_predict_layers=0", "first_k_dense_replace=2", "sequence_length=70"],
        [
            "num_attention_heads=3", "num_key_value_heads=3", "hidden_size=33", "vocab_size=101",
            "sequence_length=53", "num_hidden_layers=3", "n_shared_experts=0",
        ],
    ]

    @Test(
        .enabled(if: ProcessInfo.processInfo.environment["APUS_PYTHON"] != nil),
        arguments: shapes.indices)
    func `gradients of random shapes agree with autograd`(index: Int) throws {
        // The same networks in every run, so that a run fails by what was changed.
        let seed = UInt16(index) * 7919 + 1
        let directory = FileManager.default.temporaryDirectory
            .appending(path: "apus-autograd-\(ProcessInfo.processInfo.processIdentifier)-\(index)")
        defer { try? FileManager.default.removeItem(at: directory) }
        let process = Process()
        let python = ProcessInfo.processInfo.environment["APUS_PYTHON"] ?? "python3"
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments =
            [
                python, Self.golden.appending(path: "autograd.py").path(percentEncoded: false),
                directory.path(percentEncoded: false),
                "\(seed)",
            ]
            + Self.shapes[index]
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "autograd.py, seed \(seed)")
        try compare(directory: directory.path(percentEncoded: false), threads: 1 + index / 5)
    }

    private func compare(directory: String, threads: Int) throws {
        let reference = try AutogradReference(directory: directory)
        let (stage, input) = try reference.makeStage(pool: ThreadPool(threads: threads))
        let pass = stage.begin(input)
        try pass.forward()
        try pass.backward(nil)
        stage.context.gradients.run()
        let rows = Double(input.tokens.count)
        let losses = try reference.floats("losses")
        #expect(abs(pass.losses.main / rows - Double(losses[0])) < 1e-5 * Double(losses[0]))
        if losses[1] > 0 {
            let mtpRows = rows - Double(reference.sequences)
            #expect(abs(pass.losses.mtp / mtpRows - Double(losses[1])) < 1e-5 * Double(losses[1]))
        }
        let balance = stage.routedLayers.reduce(0) { $0 + $1.gate.balanceLoss }
        #expect(abs(balance - Double(losses[2])) <= 1e-5 * Double(losses[2]) + 1e-9)
        for parameter in stage.parameters {
            let expected = try reference.floats("gradient." + parameter.name)
            let found = parameter.gradient.values
            #expect(found.count == expected.count, "\(parameter.name)")
            let error = relativeError(found, expected)
            #expect(error <= 1e-5, "\(parameter.name) in \(reference.run)")
        }
    }
}

/// |a - b| / |b|, both as vectors; 0 where both vanish.
func relativeError(_ found: [Float], _ expected: [Float]) -> Double {
    var (difference, size) = (0.0, 0.0)
    for (a, b) in zip(found, expected) {
        difference += (Double(a) - Double(b)) * (Double(a) - Double(b))
        size += Double(b) * Double(b)
    }
    return difference == 0 ? 0 : (difference / max(size, 1e-30)).squareRoot()
}

/// What autograd.py wrote.
struct AutogradReference {
    let configuration: ModelConfiguration
    let checkpoint: Checkpoint
    let run: [String: Double]

    init(directory: String) throws {
        configuration = try ModelConfiguration.load(directory: directory)
        checkpoint = try Checkpoint(directory: directory)
        let data = try Data(contentsOf: URL(filePath: directory + "/config.json"))
        let object = try JSONSerialization.jsonObject(with: data) as? [String: Any]
        run = object?["_run"] as? [String: Double] ?? [:]
    }

    var sequences: Int { Int(run["sequences"] ?? 0) }

    func floats(_ name: String) throws -> [Float] {
        let located = try checkpoint.locate(name)
        let tensor = Tensor(rows: 1, columns: located.entry.shape.reduce(1, *))
        checkpoint.withBytes(of: located) { bytes in
            var span = tensor.mutableSpan
            Quantisation.widen(bytes, as: .float32, into: &span)
        }
        return tensor.values
    }

    func integers(_ name: String) throws -> [Int32] {
        try floats(name).map { Int32(bitPattern: $0.bitPattern) }
    }

    /// The whole model as one stage, with the reference's values.
    func makeStage(pool: ThreadPool) throws -> (TrainedStage, StageInput) {
        let context = TrainingContext(
            configuration: configuration, sequenceLength: Int(run["sequence_length"] ?? 0),
            pool: pool, balanceWeight: Float(run["balance_weight"] ?? 0))
        let stage = TrainedStage(
            layers: 0 ..< configuration.layerCount, isFirst: true, isLast: true, context: context,
            sharing: .local)
        for parameter in stage.parameters {
            fill(parameter.value, try floats(parameter.name))
        }
        for layer in stage.routedLayers {
            if let bias = layer.gate.bias, let name = layer.gate.biasName {
                fill(bias, try floats(name))
            }
        }
        let tokens = try integers("tokens")
        let scale = LossScale(
            main: 1 / Float(tokens.count),
            mtp: Float(run["mtp_weight"] ?? 0) / Float(tokens.count - sequences),
            balance: 1 / Float(sequences))
        let input = StageInput(
            tokens: tokens, targets: try integers("targets"), hidden: nil, scale: scale)
        return (stage, input)
    }

    private func fill(_ tensor: Tensor, _ values: [Float]) {
        tensor.copy(from: Tensor(rows: tensor.rows, columns: tensor.columns, values: values))
    }
}
