public import Checkpoints
public import Tensors

/// The embedding matrix, left in the checkpoint: a token touches one row of it.
struct EmbeddingTable {
    private let checkpoint: Checkpoint
    private let place: Checkpoint.Located
    private let format: NumberFormat

    init(_ checkpoint: Checkpoint, _ configuration: ModelConfiguration) throws {
        self.checkpoint = checkpoint
        let tensor = NetworkTensors(configuration).embedding
        place = try checkpoint.locate(tensor.name)
        guard let format = WeightTypes.vector(place.entry.type) else {
            throw CheckpointError.tensor(
                file: checkpoint.file(of: place), name: place.entry.name,
                fact: "dtype \(place.entry.type.rawValue) is none of F32, F16, BF16")
        }
        guard place.entry.shape == tensor.shape else {
            throw CheckpointError.tensor(
                file: checkpoint.file(of: place), name: place.entry.name,
                fact: "shape \(place.entry.shape); config.json makes it \(tensor.shape)")
        }
        self.format = format
    }

    /// Widens the rows of some tokens, whose range was checked.
    func widen(_ tokens: [Int], into rows: Tensor) {
        let rowBytes = format.byteCount(of: rows.columns)
        for (row, token) in tokens.enumerated() {
            let start = place.entry.bytes.lowerBound + token * rowBytes
            checkpoint.shards[place.shardIndex].withBytes(start ..< start + rowBytes) { bytes in
                var target = rows.mutableRow(row)
                Quantisation.widen(bytes, as: format, into: &target)
            }
        }
    }
}

extension Checkpoint {
    /// How activations enter matrix products unless someone says otherwise: exactly for float32
    /// checkpoints, rounded for the others, which keep their embedding in bf16.
    public func defaultCompute(of configuration: ModelConfiguration) throws -> Compute {
        let name = NetworkTensors(configuration).embedding.name
        return try locate(name).entry.type == .float32 ? .float32 : .bfloat16
    }
}
