import Checkpoints
import Encoding
import Foundation
import Tensors

/// What becomes of each tensor of a checkpoint that is converted.
struct ConversionPlan {
    private enum Change {
        case copy
        /// nil for bfloat16.
        case encode(StoredMatrix, Quantization.Form?)
    }

    /// The files to write.
    let shards: [OutputShard]
    /// Tensors whose bytes come with another's.
    let derived: Set<String>
    /// What `config.json` will say.
    let quantization: Quantization?
    private let changes: [String: Change]

    /// - Parameters:
    ///   - form: What matrices become, nil for bfloat16.
    ///   - includes: Whether a matrix of this name is to become that.
    /// - Throws: `CheckpointError` for a matrix that cannot, or if there is nothing to do.
    init(
        _ checkpoint: Checkpoint, to form: Quantization.Form?, includes: (String) -> Bool
    ) throws {
        var tensors = [[OutputTensor]](repeating: [], count: checkpoint.shards.count)
        var changes: [String: Change] = [:]
        var derived: Set<String> = []
        var modules = form.map { ConvertedModules($0, directory: checkpoint.directory) }
        for (name, place) in checkpoint.tensors.sorted(by: { $0.key < $1.key })
        where !StoredMatrix.isPart(name, in: checkpoint) {
            let matrix = try StoredMatrix(place, in: checkpoint)
            let wanted = matrix.flatMap { Self.form($0, form, includes) }
            if form != .float8, (matrix?.shape ?? place.entry.shape).count == 2 {
                try modules?.add(matrix?.name ?? name, isTaken: wanted != nil)
            }
            if let matrix, wanted?.numbers == matrix.numbers {
                tensors[place.shardIndex] += Self.stored(place, matrix, checkpoint)
            } else if let matrix, wanted != nil || !matrix.isPlain {
                try Self.checkWidth(matrix, wanted, checkpoint)
                let outputs = NetworkTensor(
                    name: matrix.name, shape: matrix.shape, role: .projection
                ).stored(as: wanted)
                changes[outputs[0].name] = .encode(matrix, wanted)
                derived.formUnion(outputs.dropFirst().map(\.name))
                tensors[place.shardIndex] += outputs
            } else {
                tensors[place.shardIndex].append(Self.copy(place))
            }
        }
        guard !changes.isEmpty else {
            throw CheckpointError.file(
                checkpoint.directory,
                fact: form == nil
                    ? "holds no matrix that is quantised"
                    : "holds no matrix to convert: none has such a name and another format")
        }
        try Self.checkNames(tensors, checkpoint)
        self.changes = changes
        self.derived = derived
        quantization = try form == .float8 ? Quantization() : modules?.quantization
        shards = zip(checkpoint.shards, tensors).map { file, tensors in
            OutputShard(file: (file.path as NSString).lastPathComponent, tensors: tensors)
        }
    }

    /// Refuses a folder in which a part of a converted matrix would have another tensor's name.
    private static func checkNames(
        _ tensors: [[OutputTensor]], _ checkpoint: Checkpoint
    ) throws {
        var names: Set<String> = []
        for tensor in tensors.joined() where !names.insert(tensor.name).inserted {
            throw CheckpointError.tensor(
                file: checkpoint.directory, name: tensor.name.printable(),
                fact: "would be written twice: as it is stored, and as a part of a matrix that "
                    + "is converted")
        }
    }

    /// What a matrix becomes; nil for plain numbers, and for one without elements.
    private static func form(
        _ matrix: StoredMatrix, _ form: Quantization.Form?, _ includes: (String) -> Bool
    ) -> Quantization.Form? {
        guard let form, matrix.shape.count == 2, !matrix.shape.contains(0) else { return nil }
        if includes(matrix.name) { return form }
        // FP8 says of each tensor whether it is that; 4 bits leave no place for another format.
        return form == .float8 && matrix.numbers == .float8e4m3 ? form : nil
    }

    private static func checkWidth(
        _ matrix: StoredMatrix, _ form: Quantization.Form?, _ checkpoint: Checkpoint
    ) throws {
        guard let multiple = form?.numbers.inputMultiple,
            !matrix.shape[1].isMultiple(of: multiple)
        else { return }
        throw CheckpointError.tensor(
            file: checkpoint.directory, name: matrix.name.printable(),
            fact: "\(matrix.shape[1]) inputs are no multiple of \(multiple), which share a scale")
    }

    /// The tensors of a matrix that stays as it is.
    private static func stored(
        _ place: Checkpoint.Located, _ matrix: StoredMatrix, _ checkpoint: Checkpoint
    ) -> [OutputTensor] {
        let parts: [String] =
            if case .fourBit = matrix.form {
                FourBitMatrix.partNames(of: matrix.name)
            } else {
                BlockScales.suffixes.map { matrix.name + $0 }
            }
        return [copy(place)]
            + Set(parts).subtracting([place.entry.name]).sorted()
            .compactMap { checkpoint.tensors[$0].map(copy) }
    }

    private static func copy(_ place: Checkpoint.Located) -> OutputTensor {
        OutputTensor(name: place.entry.name, type: place.entry.type, shape: place.entry.shape)
    }

    /// The bytes of some rows of a tensor, and of those that come with it.
    func encode(
        _ tensor: OutputTensor, _ rows: Range<Int>, _ checkpoint: Checkpoint,
        _ errors: RoundingErrors
    ) throws -> [CheckpointWriter.Piece] {
        guard case .encode(let matrix, let form) = changes[tensor.name] ?? .copy else {
            let place = try checkpoint.locate(tensor.name)
            let rowBytes = tensor.columns * tensor.type.byteCount
            let (start, file) = (place.entry.bytes.lowerBound, checkpoint.shards[place.shardIndex])
            let range = start + rows.lowerBound * rowBytes ..< start + rows.upperBound * rowBytes
            defer { file.release(range) }
            return [
                .init(
                    name: tensor.name, offset: rows.lowerBound * rowBytes,
                    bytes: file.copyBytes(range))
            ]
        }
        let values = try matrix.widened(rows: rows, in: checkpoint)
        let encoded = try EncodedMatrix(
            values, of: matrix.name, shape: matrix.shape, from: rows.lowerBound, as: form,
            file: checkpoint.shards[matrix.shardIndex].path)
        if form != nil {
            errors.add(
                matrix.name, rowCount: matrix.shape[0], before: values, after: encoded.values)
        }
        return encoded.pieces
    }
}
