import Checkpoints
import Foundation
import Models
import Tensors

/// Turns a training checkpoint into a Hugging Face DeepSeek-V3 folder.
public enum Export {
    /// How matrices are stored.
    public enum Format: String, CaseIterable, Sendable {
        case bfloat16
        /// e4m3 with 128x128 scales; embedding, head, norms, gate and eh_proj stay bf16.
        case float8
    }

    /// Writes `config.json`, `model.safetensors`, and copies the tokenizer's files.
    ///
    /// - Parameters:
    ///   - checkpoint: A `step-N` folder of a run.
    ///   - tokenizer: A folder with `tokenizer.json`; nil copies none.
    ///   - averaged: Whether to write the moving averages of the weights that the run kept.
    public static func write(
        checkpoint: String, to directory: String, format: Format, tokenizer: String?,
        averaged: Bool = false
    ) throws {
        let reader = try CheckpointReader(directory: checkpoint)
        if averaged && !reader.hasAverage(of: "lm_head.weight") {
            throw TrainingError.checkpoint(checkpoint, fact: "has no averages (emaDecay)")
        }
        var model = try ModelConfiguration.load(directory: checkpoint)
        let files = FileManager.default
        if let tokenizer, !files.fileExists(atPath: tokenizer + "/tokenizer.json") {
            throw TrainingError.job("--tokenizer", fact: "\(tokenizer) has no tokenizer.json")
        }
        if files.fileExists(atPath: directory + "/state.json") {
            throw TrainingError.job("--to", fact: "\(directory) is a run's checkpoint")
        }
        try OutputFolder.make(directory, key: "--to")
        var writer = SafetensorsWriter()
        let state = ["first.", "second.", "average."]
        for name in reader.names where !state.contains(where: name.hasPrefix) {
            try add(name, from: reader, to: &writer, format, averaged: averaged)
        }
        let prefix = "model.layers.\(model.layerCount)."
        if model.mtpLayerCount > 0 {
            for (copy, name) in [
                (prefix + "embed_tokens.weight", "model.embed_tokens.weight"),
                (prefix + "shared_head.head.weight", "lm_head.weight"),
            ] {
                try add(name, from: reader, to: &writer, format, as: copy, averaged: averaged)
            }
        }
        try writer.write(to: directory + "/model.safetensors")
        model.storedType = "bfloat16"
        model.quantization = format == .float8 ? Quantization() : nil
        try model.encoded().write(to: URL(filePath: directory + "/config.json"))
        guard let tokenizer else { return }
        for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]
        where files.fileExists(atPath: tokenizer + "/" + name) {
            // Read before it is written: the two folders may be one.
            let data = try Data(contentsOf: URL(filePath: tokenizer + "/" + name))
            try data.write(to: URL(filePath: directory + "/" + name), options: .atomic)
        }
    }

    private static func add(
        _ name: String, from reader: CheckpointReader, to writer: inout SafetensorsWriter,
        _ format: Format, as copy: String? = nil, averaged: Bool
    ) throws {
        guard let shape = reader.shape(name) else { return }
        let isVector = shape.count == 1
        let tensor = Tensor(
            rows: isVector ? 1 : shape[0],
            columns: isVector ? shape[0] : shape.dropFirst().reduce(1, *))
        // A gate's bias is moved, not learned, and has no average.
        if averaged && reader.hasAverage(of: name) {
            try reader.readAverage(of: name, into: flat(tensor, 0 ..< tensor.count))
        } else {
            try reader.read(name, into: tensor)
        }
        let target = copy ?? name
        if name.hasSuffix("e_score_correction_bias") {
            writer.add(float32: tensor, as: target, isVector: true)
        } else if format == .float8 && !isVector && isQuantised(name) {
            writer.add(float8: tensor, as: target)
        } else {
            writer.add(bfloat16: tensor, as: target, isVector: isVector)
        }
    }

    /// The matrices that DeepSeek's FP8 releases quantise.
    private static func isQuantised(_ name: String) -> Bool {
        let kept = ["embed_tokens", "lm_head", "mlp.gate.weight", "eh_proj", "shared_head"]
        return !kept.contains { name.contains($0) }
    }
}
