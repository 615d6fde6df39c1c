import DeepSeekV3
import Foundation
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
    public static func write(
        checkpoint: String, to directory: String, format: Format, tokenizer: String?
    ) throws {
        let reader = try CheckpointReader(directory: checkpoint)
        var model = try ModelConfiguration.load(directory: checkpoint)
        let files = FileManager.default
        try files.createDirectory(atPath: directory, withIntermediateDirectories: true)
        var writer = SafetensorsWriter()
        for name in reader.names where !name.hasPrefix("first.") && !name.hasPrefix("second.") {
            try add(name, from: reader, to: &writer, format)
        }
        let prefix = "model.layers.\(model.layerCount)."
        if model.mtpLayerCount > 0 {
            for (copy, name) in [
                (prefix + "embed_tokens.weight", "model.embed_tokens.weight"),
                (prefix + "shared_head.head.weight", "lm_head.weight"),
            ] {
                try add(name, from: reader, to: &writer, format, as: copy)
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
        _ format: Format, as copy: String? = nil
    ) throws {
        guard let shape = reader.shape(name) else { return }
        let isVector = shape.count == 1
        let tensor = Tensor(
            rows: isVector ? 1 : shape[0],
            columns: isVector ? shape[0] : shape.dropFirst().reduce(1, *))
        try reader.read(name, into: tensor)
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
