public import Checkpoints
import Encoding
public import Tensors

/// The embedding matrix, left in the checkpoint: a token touches one row of it.
struct EmbeddingTable {
    private enum Source {
        case folder(Checkpoint, Checkpoint.Located, NumberFormat)
        /// A few rows, which tokens share.
        case random(Tensor)
    }

    private let source: Source

    /// Few rows are drawn, and before any batch: to touch one costs a copy, as in a checkpoint.
    private static let drawnRows = 16

    /// Draws rows of random weights.
    init(_ weights: RandomWeights, hiddenSize: Int) {
        var random = SplitMix64(seed: SplitMix64.mix(weights.seed))
        let rows = Tensor(rows: Self.drawnRows, columns: hiddenSize)
        var values = rows.mutableSpan
        // The standard deviation of the other weights: a range of sqrt(12) of them.
        for index in 0 ..< values.count { values[index] = Float(random.uniform() - 0.5) * 0.065 }
        source = .random(rows)
    }

    init(_ checkpoint: Checkpoint, _ configuration: ModelConfiguration) throws {
        let tensor = NetworkTensors(configuration).embedding
        let place = try checkpoint.locate(tensor.name)
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
        try checkpoint.require(place)
        source = .folder(checkpoint, place, format)
    }

    /// Widens the rows of some tokens, whose range was checked.
    func widen(_ tokens: [Int], into rows: Tensor) {
        switch source {
        case .folder(let checkpoint, let place, let format):
            Self.widen(tokens, from: checkpoint, place, format, into: rows)
        case .random(let drawn):
            let rowBytes = NumberFormat.float32.byteCount(of: rows.columns)
            for (row, token) in tokens.enumerated() {
                let start = token % Self.drawnRows * rowBytes
                var target = rows.mutableRow(row)
                Quantisation.widen(
                    drawn.bytes.extracting(start ..< start + rowBytes), as: .float32,
                    into: &target)
            }
        }
    }

    private static func widen(
        _ tokens: [Int], from checkpoint: Checkpoint, _ place: Checkpoint.Located,
        _ format: NumberFormat, into rows: Tensor
    ) {
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
