public import Checkpoints
import Encoding
public import Tensors

/// The embedding matrix, left in the checkpoint: a token touches one row of it.
struct EmbeddingTable {
    private enum Source {
        case folder(Checkpoint, Checkpoint.Located, NumberFormat)
        /// A row is drawn when it is touched.
        case random(seed: UInt64)
    }

    private let source: Source

    /// Draws rows of random weights.
    init(_ random: RandomWeights) { source = .random(seed: random.seed) }

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
        source = .folder(checkpoint, place, format)
    }

    /// Widens the rows of some tokens, whose range was checked.
    func widen(_ tokens: [Int], into rows: Tensor) {
        switch source {
        case .folder(let checkpoint, let place, let format):
            Self.widen(tokens, from: checkpoint, place, format, into: rows)
        case .random(let seed):
            for (row, token) in tokens.enumerated() {
                var random = SplitMix64(seed: SplitMix64.mix(seed &+ UInt64(token)))
                var target = rows.mutableRow(row)
                // The standard deviation of the other weights: a range of sqrt(12) of them.
                for column in 0 ..< target.count {
                    target[column] = Float(random.uniform() - 0.5) * 0.065
                }
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
