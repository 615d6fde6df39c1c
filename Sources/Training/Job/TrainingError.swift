public import Topology

/// What stops a training run.
public enum TrainingError: ProgramError, CustomStringConvertible {
    /// A count below 1.
    case notPositive(String, value: Int)
    /// Layers that do not divide into the schedule's stages.
    case layersNotDivisible(layers: Int, stages: Int)
    /// Experts that do not divide over the ranks that share them.
    case expertsNotDivisible(experts: Int, ranks: Int)
    /// A source of text that is not there or empty.
    case missingText(String)
    /// A token file that cannot be used.
    case tokenFile(String, fact: String)
    /// A checkpoint that cannot be read or written.
    case checkpoint(String, fact: String)
    /// A loss that is not a number, and where it arose.
    case lossNotFinite(rank: Rank, layer: Int?, microBatch: Int, step: Int)
    /// A gradient that is not a number.
    case gradientNotFinite(parameter: String, rank: Rank, step: Int)
    /// A teacher that does not answer.
    case teacher(String, fact: String)
    /// A key of the job file.
    case job(String, fact: String)

    /// Numbers that went wrong are told from bad input.
    public var exitStatus: ExitStatus {
        switch self {
        case .lossNotFinite, .gradientNotFinite: .failed
        default: .badInput
        }
    }

    /// The fact, and the key that lets a run go on where there is one.
    public var description: String {
        switch self {
        case .lossNotFinite, .gradientNotFinite: fact + "; skipBadSteps leaves such a step out"
        default: fact
        }
    }

    /// The fact, the value, the limit, and where the limit comes from.
    var fact: String {
        switch self {
        case .notPositive(let what, let value): "\(what) is \(value): it must be at least 1"
        case .layersNotDivisible(let layers, let stages):
            "\(layers) layers (num_hidden_layers) do not divide into \(stages) stages"
        case .expertsNotDivisible(let experts, let ranks):
            "\(experts) experts (n_routed_experts) do not divide over \(ranks) data ranks"
        case .missingText(let path): "\(path) has no text"
        case .tokenFile(let path, let fact): "\(path): \(fact)"
        case .checkpoint(let path, let fact): "\(path): \(fact)"
        case .teacher(let url, let fact): "the teacher at \(url): \(fact)"
        case .lossNotFinite(let rank, let layer, let microBatch, let step):
            """
            the loss of micro-batch \(microBatch) is not finite in step \(step): the first output \
            that was not is that of \(layer.map { "layer \($0)" } ?? "the head") on rank \
            \(rank.rawValue)
            """
        case .gradientNotFinite(let parameter, let rank, let step):
            "the gradient of \(parameter) on \(rank) is not finite in step \(step)"
        case .job(let key, let fact): "\(key) \(fact)"
        }
    }
}
