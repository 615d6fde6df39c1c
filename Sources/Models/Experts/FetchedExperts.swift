public import Checkpoints
public import Tensors
public import Topology

/// Routed experts that were read for an epoch to come, while a rank serves in the present one.
///
/// Until `Model.share` takes them a rank holds its present experts and these.
public struct FetchedExperts {
    /// By layer, MTP blocks after the main layers.
    private var layers: [[ExpertID: ExpertWeights]]
    /// Of the checkpoint that were packed.
    let byteCount: Int

    /// Reads the experts that a rank does not hold yet, one layer after the other.
    ///
    /// - Parameters:
    ///   - held: The present map, and the rank's number in it.
    ///   - wanted: The map of the epoch to come, and its number there.
    ///   - pool: Other threads than those of the rank's steps.
    ///   - isWanted: Asked before each layer; nothing more is read once it says no.
    /// - Returns: Nil if they were not wanted any more.
    /// - Throws: `CheckpointError` naming the tensor that is missing or wrong.
    public init?(
        _ checkpoint: Checkpoint, configuration: ModelConfiguration, options: ModelOptions,
        held: (map: ExpertMap, rank: Rank), wanted: (map: ExpertMap, rank: Rank),
        pool: ThreadPool, isWanted: () -> Bool
    ) throws {
        let tensors = NetworkTensors(configuration)
        var byteCount = 0
        layers = []
        for layer in Self.layers(configuration, options, wanted.map) {
            guard isWanted() else { return nil }
            guard configuration.hasExperts(layer: layer) else {
                layers.append([:])
                continue
            }
            let here = Set(held.map.experts(on: held.rank, layer: layer))
            let loader = WeightLoader(checkpoint)
            let pending = try wanted.map.experts(on: wanted.rank, layer: layer)
                .filter { !here.contains($0) }
                .map { ($0, try PendingExpert(tensors, $0, layer: layer, from: loader)) }
            byteCount += loader.byteCount
            try loader.load(pool: pool, progress: nil)
            layers.append(
                Dictionary(uniqueKeysWithValues: pending.map { ($0, $1.weights) }))
        }
        self.byteCount = byteCount
    }

    /// The layers whose routed experts ranks share, MTP blocks after the main layers.
    static func layers(
        _ configuration: ModelConfiguration, _ options: ModelOptions, _ map: ExpertMap
    ) -> Range<Int> {
        let blocks = options.copiesDraftExperts ? 0 : configuration.mtpLayerCount
        return 0 ..< min(configuration.layerCount + blocks, map.layerCount)
    }

    /// The weights of an expert, if it was read.
    subscript(layer: Int, expert: ExpertID) -> ExpertWeights? {
        layers.indices.contains(layer) ? layers[layer][expert] : nil
    }
}
