public import Checkpoints
import Encoding
import Foundation
public import Tensors

/// Rewrites a checkpoint in another number format, keeping its shards' names.
public enum FormatConversion: String, Sendable, CaseIterable {
    /// e4m3 with block scales becomes bfloat16: `bf16(e4m3 * scale)`, in Float32.
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
        try ModelConfiguration.checkQuantization(directory: source)
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

    /// Whether a tensor holds the scales of a matrix that is e4m3.
    private func belongsToFloat8(_ name: String, _ checkpoint: Checkpoint) -> Bool {
        BlockScales.suffixes.contains { suffix in
            name.hasSuffix(suffix)
                && checkpoint.tensors[String(name.dropLast(suffix.count))]?.entry.type
                    == .float8e4m3
        }
    }

    private func outputShards(_ checkpoint: Checkpoint) throws -> [OutputShard] {
        var tensors = [[OutputTensor]](repeating: [], count: checkpoint.shards.count)
        var changed = 0
        for (name, located) in checkpoint.tensors.sorted(by: { $0.key < $1.key }) {
            let entry = located.entry
            var type = entry.type
            switch self {
            case .float8ToBFloat16:
                if belongsToFloat8(name, checkpoint) { continue }
                if type == .float8e4m3 {
                    try BlockScales.locate(located, in: checkpoint)
                    type = .bfloat16
                    changed += 1
                }
            case .bfloat16ToFloat8:
                let isFloat = WeightTypes.vector(type) != nil
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
            let wanted =
                self == .float8ToBFloat16 ? "F8_E4M3 tensor" : "BF16, F16 or F32 projection"
            throw CheckpointError.file(checkpoint.directory, fact: "holds no \(wanted)")
        }
        return zip(checkpoint.shards, tensors).map { file, tensors in
            OutputShard(file: (file.path as NSString).lastPathComponent, tensors: tensors)
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
            // `outputShards` chose the tensor by this.
            let format = WeightTypes.vector(located.entry.type) ?? .bfloat16
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
        let scales = try BlockScales(of: checkpoint.locate(tensor.name), in: checkpoint)
        let blocks = rows.lowerBound / 128 ..< (rows.upperBound + 127) / 128
        return Array(
            scales.values[blocks.lowerBound * scales.columns ..< blocks.upperBound * scales.columns]
        )
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
        let root: JSONValue
        do {
            var reader = JSONReader(json)
            root = try reader.value()
            guard root.object != nil else { throw reader.malformed("an object") }
            try reader.end()
        } catch { throw CheckpointError.file(file, fact: "\(error)") }
        // Where the keys of the network stand apart, its quantisation stands with them.
        let textKey = ModelConfiguration.CodingKeys.text.rawValue
        let isNested = root[textKey]?.object != nil
        for (prefix, part) in [("", root), (textKey + ".", root[textKey] ?? .null)] {
            do { try QuantizationKeys.check(besides: part, prefix: prefix) } catch let error
                as ModelConfiguration.Refusal
            {
                throw ModelError.configuration(file: file, key: error.key, fact: error.fact)
            }
        }
        var members = edited(root, isFloat8: isFloat8 && !isNested)
        for index in members.indices where isNested && members[index].key == textKey {
            members[index].value = .object(edited(members[index].value, isFloat8: isFloat8))
        }
        return JSONValue.object(members).encoded(indent: 2) + "\n"
    }

    /// The members of an object with the description of FP8, or without any.
    private static func edited(
        _ object: JSONValue, isFloat8: Bool
    ) -> [(key: String, value: JSONValue)] {
        let members = (object.object ?? []).filter { !QuantizationKeys.keys.contains($0.key) }
        return members + (isFloat8 ? [("quantization_config", Quantization.published)] : [])
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
