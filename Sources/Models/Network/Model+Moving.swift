public import Checkpoints
public import Collectives
import Tensors
import Topology

/// Routed experts of one block on their way to this rank.
private struct MovingExperts {
    /// In the order of the new map: what is here already, or what the loader will fill.
    private let experts: [(kept: ExpertWeights?, read: PendingExpert?)]

    /// - Parameters:
    ///   - held: The experts that `weights` are of, in the same order.
    ///   - wanted: The experts of the new map.
    ///   - fetched: Those that were read before.
    init(
        _ weights: [ExpertWeights], of held: [ExpertID], wanted: [ExpertID], layer: Int,
        _ tensors: NetworkTensors, fetched: FetchedExperts?, from loader: WeightLoader
    ) throws {
        let places = Dictionary(
            zip(held, weights.indices).map { ($0, $1) }, uniquingKeysWith: { first, _ in first })
        experts = try wanted.map { expert in
            if let place = places[expert] { return (weights[place], nil) }
            if let weights = fetched?[layer, expert] { return (weights, nil) }
            return (nil, try PendingExpert(tensors, expert, layer: layer, from: loader))
        }
    }

    var weights: [ExpertWeights] {
        experts.compactMap { $0.kept ?? $0.read?.weights }
    }
}

extension LayerWeights {
    fileprivate var routed: [ExpertWeights]? {
        get {
            guard case .experts(let experts) = feedForward else { return nil }
            return experts.routed
        }
        set {
            guard case .experts(var experts) = feedForward, let newValue else { return }
            experts.routed = newValue
            feedForward = .experts(experts)
        }
    }
}

extension Model {
    /// Shares the routed experts with other ranks, or otherwise, than before: keeps the experts
    /// that stay here, reads those that come and were not fetched, and lets go of the rest.
    ///
    /// Nothing changes if it throws before the last tensor is packed. Collective among the ranks of
    /// the new group where these compute the head together.
    ///
    /// - Parameters:
    ///   - shared: The group of this epoch and its map; nil where this rank has all experts.
    ///   - fetched: Experts that were read for this epoch before.
    ///   - checkpoint: The folder that the model was loaded from.
    ///   - progress: Called now and then while matrices are packed.
    /// - Throws: `ModelError` naming the tensor that is missing or wrong.
    public func share(
        _ shared: SharedExperts?, fetched: FetchedExperts? = nil, from checkpoint: Checkpoint,
        progress: ((LoadProgress) -> Void)? = nil
    ) throws {
        let loader = WeightLoader(checkpoint)
        let tensors = NetworkTensors(configuration)
        let share = shared.map { ($0.map, $0.rank) }
        let wanted = try held.indices.map { layer in
            let stays = draftsAlone && layer >= configuration.layerCount
            return try stays
                ? held[layer] : Self.experts(configuration, share, layer: layer)
        }
        let coming = try (layers + mtp.map(\.layer)).enumerated().map { layer, block in
            try block.routed.map {
                try MovingExperts(
                    $0, of: held[layer], wanted: wanted[layer], layer: layer, tensors,
                    fetched: fetched, from: loader)
            }
        }
        let node = try Self.nodeHead(configuration, options, shared?.group)
        let products = try Self.nodeProducts(configuration, options, shared?.group)
        // A head that is cut otherwise is read anew; one that stays is kept.
        var pendingHead: [WeightLoader.Slot]?
        if let node, node.slices != nodeHead?.slices {
            pendingHead = try loader.parts(tensors.head, node.slices.map { ($0, false) })
        }
        let byteCount = loader.byteCount + (fetched?.byteCount ?? 0)
        try loader.load(pool: pool, progress: progress)
        weightByteCount += byteCount
        for index in layers.indices { layers[index].routed = coming[index]?.weights }
        for index in mtp.indices {
            mtp[index].layer.routed = coming[layers.count + index]?.weights
        }
        held = wanted
        if let pendingHead { head = pendingHead.map(\.weight) }
        nodeHead = node
        nodeProducts = products
        self.shared = shared
    }

    /// Bytes of the head that `share` reads while the rank still holds the one that it had: a head
    /// that the ranks of a node compute together is cut anew where their number changes.
    ///
    /// - Parameters:
    ///   - held: Ranks of the node for which the head is cut; 1 where it is whole.
    ///   - wanted: Ranks of the node in the epoch to come.
    /// - Returns: Bytes of memory once it is packed; 0 where nothing is read.
    /// - Throws: `CheckpointError` naming the tensor that is missing or wrong.
    public static func recutHeadBytes(
        _ checkpoint: Checkpoint, _ configuration: ModelConfiguration, _ options: ModelOptions,
        held: Int, wanted: Int
    ) throws -> Int {
        guard wanted > 1, wanted != held, wanted <= options.nodeSharers,
            configuration.headByteCount >= options.sharedHeadBytes
        else { return 0 }
        let loader = WeightLoader(checkpoint)
        _ = try loader.parts(NetworkTensors(configuration).head, [(nil, false)])
        return loader.packedByteCount
    }
}
