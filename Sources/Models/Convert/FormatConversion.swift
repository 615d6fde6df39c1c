public import Checkpoints
import Encoding
import Foundation
public import Tensors

/// Rewrites a checkpoint in another number format, keeping its shards' names.
public enum FormatConversion: String, Sendable, CaseIterable {
    /// e4m3 with block scales becomes bfloat16: `bf16(e4m3 * weight_scale_inv)`, in Float32.
    case float8ToBFloat16 = "fp8-to-bf16"
    /// The projections DeepSeek stores as e4m3 (not embedding, head, norms, gate, `eh_proj`)
    /// become that: scale max|block| / 448, round to nearest even.
    case bfloat16ToFloat8 = "bf16-to-fp8"

    /// Converts the checkpoint in `source` into the new folder `target`.
    ///
    /// Memory: a strip of 4 Mi values per thread, whatever the checkpoint's size.
    ///
    /// - Throws: `CheckpointError` that names the file or the tensor; then `target` does not exist.
    public func run(
        source: String, target: String, pool: ThreadPool,
        progress: ((LoadProgress) -> Void)? = nil
    ) throws {
        let configuration = try editedConfiguration(source + "/config.json")
        let checkpoint = try Checkpoint(directory: source)
        let shards = try outputShards(checkpoint)
        let writer = try CheckpointWriter(directory: target)
        do {
            try writer.writeShards(
                shards, pool: pool, progress: progress,
                derived: { isScale($0.name) && self == .bfloat16ToFloat8 },
                encode: { try encode($0, $1, checkpoint) })
            let hasIndex = shards.count > 1 || shards[0].file != "model.safetensors"
            if hasIndex { try writer.writeIndex(shards) }
            try writer.write(configuration, to: "config.json")
            for file in try otherFiles(source, shards) { try writer.copy(file, from: source) }
            try writer.commit()
        } catch {
            try writer.abandon()
            throw error
        }
    }

    // MARK: - What is written

    private func isScale(_ name: String) -> Bool { name.hasSuffix(OutputTensor.scaleSuffix) }

    private func outputShards(_ checkpoint: Checkpoint) throws -> [OutputShard] {
        var tensors = [[OutputTensor]](repeating: [], count: checkpoint.shards.count)
        var changed = 0
        for (name, located) in checkpoint.tensors.sorted(by: { $0.key < $1.key }) {
            let entry = located.entry
            var type = entry.type
            switch self {
            case .float8ToBFloat16:
                if isScale(name) {
                    let weight = String(name.dropLast(OutputTensor.scaleSuffix.count))
                    if checkpoint.tensors[weight]?.entry.type == .float8e4m3 { continue }
                } else if type == .float8e4m3 {
                    try checkScales(of: name, located, checkpoint)
                    type = .bfloat16
                    changed += 1
                }
            case .bfloat16ToFloat8:
                let isFloat = type == .bfloat16 || type == .float32
                if isFloat && Architectures.isProjection(name) && entry.shape.count == 2 {
                    changed += 1
                    tensors[located.shardIndex] += OutputTensor.float8(
                        name: name, shape: entry.shape)
                    continue
                }
            }
            tensors[located.shardIndex].append(
                OutputTensor(name: name, type: type, shape: entry.shape))
        }
        guard changed > 0 else {
            let wanted = self == .float8ToBFloat16 ? "F8_E4M3 tensor" : "BF16 or F32 projection"
            throw CheckpointError.file(checkpoint.directory, fact: "holds no \(wanted)")
        }
        return zip(checkpoint.shards, tensors).map { file, tensors in
            OutputShard(file: (file.path as NSString).lastPathComponent, tensors: tensors)
        }
    }

    private func checkScales(
        of name: String, _ weight: Checkpoint.Located, _ checkpoint: Checkpoint
    ) throws {
        guard weight.entry.shape.count == 2 else {
            throw CheckpointError.tensor(
                file: checkpoint.file(of: weight), name: name.printable(),
                fact: "F8_E4M3 of shape \(weight.entry.shape); only matrices have block scales")
        }
        let scales = try checkpoint.locate(name + OutputTensor.scaleSuffix)
        let wanted = OutputTensor.scaleShape(weight.entry.shape)
        guard scales.entry.type == .float32, scales.entry.shape == wanted else {
            throw CheckpointError.tensor(
                file: checkpoint.file(of: scales),
                name: (name + OutputTensor.scaleSuffix).printable(),
                fact: "\(scales.entry.type.rawValue) \(scales.entry.shape) is not F32 \(wanted)")
        }
    }

    // MARK: - Strips

    private func encode(
        _ tensor: OutputTensor, _ rows: Range<Int>, _ checkpoint: Checkpoint
    ) throws -> [CheckpointWriter.Piece] {
        let located = try checkpoint.locate(tensor.name)
        let width = tensor.columns
        let sourceRow = width * located.entry.type.byteCount
        let file = checkpoint.shards[located.shardIndex]
        let start = located.entry.bytes.lowerBound
        let range = start + rows.lowerBound * sourceRow ..< start + rows.upperBound * sourceRow
        defer { file.release(range) }
        let offset = rows.lowerBound * width * tensor.type.byteCount
        guard tensor.type != located.entry.type else {
            return [.init(name: tensor.name, offset: offset, bytes: file.copyBytes(range))]
        }
        let values = Tensor(rows: rows.count, columns: width)
        switch self {
        case .float8ToBFloat16:
            let scales = try scales(of: tensor, rows, checkpoint)
            file.withBytes(range) { Quantisation.fromFloat8($0, scales: scales, into: values) }
            return [
                .init(
                    name: tensor.name, offset: offset,
                    bytes: Quantisation.bfloat16Bytes(values.span))
            ]
        case .bfloat16ToFloat8:
            let format: NumberFormat = located.entry.type == .float32 ? .float32 : .bfloat16
            file.withBytes(range) { bytes in
                var span = values.mutableSpan
                Quantisation.widen(bytes, as: format, into: &span)
            }
            return float8Pieces(tensor, values, rows)
        }
    }

    private func scales(
        of tensor: OutputTensor, _ rows: Range<Int>, _ checkpoint: Checkpoint
    ) throws -> [Float] {
        let located = try checkpoint.locate(tensor.name + OutputTensor.scaleSuffix)
        let width = located.entry.shape[1]
        let values = Tensor(rows: 1, columns: located.entry.shape[0] * width)
        checkpoint.withBytes(of: located) { bytes in
            var span = values.mutableSpan
            Quantisation.widen(bytes, as: .float32, into: &span)
        }
        let first = rows.lowerBound / 128 * width
        let scales = Array(values.values[first ..< (rows.upperBound + 127) / 128 * width])
        if let wrong = scales.firstIndex(where: { !$0.isFinite }) {
            throw CheckpointError.tensor(
                file: checkpoint.file(of: located),
                name: (tensor.name + OutputTensor.scaleSuffix).printable(),
                fact: "scale \(first + wrong) is \(scales[wrong])")
        }
        return scales
    }

    // MARK: - Beside the tensors

    /// `config.json` with or without `quantization_config`, everything else as it is.
    private func editedConfiguration(_ path: String) throws -> String {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw CheckpointError.file(path, fact: "cannot be read")
        }
        return try Self.configuration(
            [UInt8](data), isFloat8: self == .bfloat16ToFloat8, file: path)
    }

    static func configuration(_ json: [UInt8], isFloat8: Bool, file: String) throws -> String {
        var members: [(key: String, value: JSONValue)]
        do {
            var reader = JSONReader(json)
            guard case .object(let read) = try reader.value() else {
                throw reader.malformed("an object")
            }
            try reader.end()
            members = read
        } catch { throw CheckpointError.file(file, fact: "\(error)") }
        members.removeAll { $0.key == "quantization_config" }
        if isFloat8 {
            let block = Quantization.block.map { JSONValue.number("\($0)") }
            members.append(
                (
                    "quantization_config",
                    .object([
                        ("activation_scheme", .string("dynamic")), ("fmt", .string("e4m3")),
                        ("quant_method", .string("fp8")), ("weight_block_size", .array(block)),
                    ])
                ))
        }
        return JSONValue.object(members).encoded(indent: 2) + "\n"
    }

    /// The tokenizer and whatever else lies beside the shards.
    private func otherFiles(_ source: String, _ shards: [OutputShard]) throws -> [String] {
        let written = Set(shards.map(\.file) + ["config.json", "model.safetensors.index.json"])
        return try FileManager.default.contentsOfDirectory(atPath: source).filter { file in
            let path = source + "/" + file
            let type = try FileManager.default.attributesOfItem(atPath: path)[.type]
            return !written.contains(file) && !file.hasSuffix(".safetensors")
                && !file.hasPrefix(".") && type as? FileAttributeType == .typeRegular
        }.sorted()
    }
}

/// The bytes of a strip in e4m3, and of its scales.
func float8Pieces(
    _ tensor: OutputTensor, _ values: Tensor, _ rows: Range<Int>
) -> [CheckpointWriter.Piece] {
    let (bytes, scales) = Quantisation.toFloat8(values)
    let scaleRow = (tensor.columns + 127) / 128 * 4
    return [
        .init(name: tensor.name, offset: rows.lowerBound * tensor.columns, bytes: bytes),
        .init(
            name: tensor.name + OutputTensor.scaleSuffix,
            offset: rows.lowerBound / 128 * scaleRow,
            bytes: scales.flatMap { scale in
                (0 ..< 4).map { UInt8(truncatingIfNeeded: scale.bitPattern >> ($0 * 8)) }
            }),
    ]
}
