public import Checkpoints
public import Topology

/// What experts that come to a rank will take of its memory, known before one is read.
public struct ComingExperts: Equatable, Sendable {
    /// Experts, each once in every layer where it comes.
    public var count = 0
    /// Bytes of memory once they are packed, padding and scales included.
    public var byteCount = 0

    /// None.
    public init() {}

    /// Counts the experts that a rank does not hold yet.
    ///
    /// - Parameters:
    ///   - held: The present map, and the rank's number in it.
    ///   - wanted: The map of the epoch to come, and its number there.
    /// - Throws: `CheckpointError` naming the tensor that is missing or wrong.
    public init(
        _ checkpoint: Checkpoint, configuration: ModelConfiguration, options: ModelOptions,
        held: (map: ExpertMap, rank: Rank), wanted: (map: ExpertMap, rank: Rank)
    ) throws {
        let tensors = NetworkTensors(configuration)
        for layer in FetchedExperts.layers(configuration, options, wanted.map)
        where configuration.hasExperts(layer: layer) {
            let here = Set(held.map.experts(on: held.rank, layer: layer))
            let coming = wanted.map.experts(on: wanted.rank, layer: layer)
                .filter { !here.contains($0) }
            guard let first = coming.first else { continue }
            // The experts of a layer have one shape and one format.
            let loader = WeightLoader(checkpoint)
            _ = try PendingExpert(tensors, first, layer: layer, from: loader)
            count += coming.count
            byteCount += coming.count * loader.packedByteCount
        }
    }

    /// Experts of several ranks.
    public static func + (one: ComingExperts, other: ComingExperts) -> ComingExperts {
        var sum = one
        sum.count += other.count
        sum.byteCount += other.byteCount
        return sum
    }
}
