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
        var model = try ModelConfiguration.load(directory: checkpoint)
        if averaged && !reader.hasAverage(of: NetworkTensors(model).head.name) {
            throw TrainingError.checkpoint(checkpoint, fact: "has no averages (emaDecay)")
        }
        let files = FileManager.default
        if let tokenizer, !files.fileExists(atPath: tokenizer + "/tokenizer.json") {
            throw TrainingError.job("--tokenizer", fact: "\(tokenizer) has no tokenizer.json")
        }
        if files.fileExists(atPath: directory + "/state.json") {
            throw TrainingError.job("--to", fact: "\(directory) is a run's checkpoint")
        }
        try OutputFolder.make(directory, key: "--to")
        try writeTensors(
            of: model, from: reader, to: directory + "/model.safetensors", format,
            averaged: averaged)
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

    /// Writes the tensors that the checkpoint holds, one after the other, and waits for the disk.
    private static func writeTensors(
        of model: ModelConfiguration, from reader: CheckpointReader, to path: String,
        _ format: Format, averaged: Bool
    ) throws {
        let tensors = NetworkTensors(model).all.filter {
            reader.shape($0.original ?? $0.name) != nil
        }
        let file = try SafetensorsWriter(
            path: path,
            tensors: tensors.flatMap { $0.stored(format == .float8 ? Quantization() : nil) })
        for tensor in tensors {
            let source = tensor.original ?? tensor.name
            let isVector = tensor.shape.count == 1
            let values = Tensor(
                rows: isVector ? 1 : tensor.shape[0], columns: tensor.shape[isVector ? 0 : 1])
            // A gate's bias is moved, not learned, and has no average.
            if averaged && reader.hasAverage(of: source) {
                try reader.readAverage(of: source, into: flat(values, 0 ..< values.count))
            } else {
                try reader.read(source, into: values)
            }
            try file.write(values, to: tensor.name)
        }
        try file.finish(synchronizing: true)
    }
}
