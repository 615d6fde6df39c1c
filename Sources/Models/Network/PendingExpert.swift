import Checkpoints
import Tensors
import Topology

/// The three matrices of a feed-forward network, asked for but not yet packed.
struct PendingExpert {
    private typealias Matrix = (name: String, slot: WeightLoader.Slot)

    private let gate: Matrix
    private let up: Matrix
    private let down: Matrix
    private let biases: ExpertBiases?
    private let activation: ClampedSwiGLU?

    init(_ tensors: FeedForwardTensors, from loader: WeightLoader) throws {
        func matrix(_ tensor: NetworkTensor) throws -> Matrix {
            (tensor.name, try loader.matrix(tensor))
        }
        gate = try matrix(tensors.gate)
        up = try matrix(tensors.up)
        down = try matrix(tensors.down)
        (biases, activation) = (nil, nil)
    }

    /// A routed expert, in tensors of its own or of all experts of its block.
    init(
        _ tensors: NetworkTensors, _ expert: ExpertID, layer: Int, from loader: WeightLoader
    ) throws {
        guard let fused = tensors.fusedExperts(layer: layer) else {
            try self.init(tensors.routedExpert(expert.rawValue, layer: layer), from: loader)
            return
        }
        try self.init(fused, expert.rawValue, tensors.expertActivation, from: loader)
    }

    private init(
        _ tensors: FusedExpertTensors, _ expert: Int, _ activation: ClampedSwiGLU?,
        from loader: WeightLoader
    ) throws {
        let interleaved = FusedExpertTensors.interleaved
        /// Number `index` of the matrices whose outputs a tensor has in turn.
        func matrix(_ tensor: NetworkTensor, _ index: Int, of count: Int) throws -> Matrix {
            let place = FusedMatrix.Place(
                expert: expert, of: tensor.shape[0], outputs: tensor.shape[2] / count,
                inputs: tensor.shape[1], interleaving: Interleaving(count: count, index: index))
            return (tensor.name, try loader.matrix(fused: tensor.name, place))
        }
        gate = try matrix(tensors.gateUp, 0, of: interleaved)
        up = try matrix(tensors.gateUp, 1, of: interleaved)
        down = try matrix(tensors.down, 0, of: 1)
        func row(_ tensor: NetworkTensor) throws -> [Float] {
            try loader.row(expert, of: tensor.name, shape: tensor.shape)
        }
        let both = try row(tensors.gateUpBias)
        func part(_ index: Int) -> [Float] {
            stride(from: index, to: both.count, by: interleaved).map { both[$0] }
        }
        biases = ExpertBiases(gate: part(0), up: part(1), down: try row(tensors.downBias))
        self.activation = activation
    }

    /// Refuses experts of one layer of which some are in 4 bits and some are not.
    static func checkFormats(_ experts: [PendingExpert]) throws {
        let matrices = experts.flatMap { [$0.gate, $0.up, $0.down] }
        guard let first = matrices.first else { return }
        let format = first.slot.format
        for (name, slot) in matrices
        where slot.format != format
            && (format.inputMultiple > 1 || slot.format.inputMultiple > 1)
        {
            throw fault(file: slot.file, name, slot.format, first.name, format)
        }
    }

    /// What is wrong with an expert's matrix whose format is not that of another of its layer.
    static func fault(
        file: String, _ name: String, _ format: NumberFormat, _ other: String,
        _ otherFormat: NumberFormat
    ) -> CheckpointError {
        .tensor(
            file: file, name: name,
            fact: "is \(format.rawValue) and \(other) is \(otherFormat.rawValue); "
                + "the experts of a layer have one format where 4 bits are one of them")
    }

    var weights: ExpertWeights {
        ExpertWeights(
            gate: gate.slot.weight, up: up.slot.weight, down: down.slot.weight, biases: biases,
            activation: activation)
    }
}
