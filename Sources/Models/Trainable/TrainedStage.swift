public import Tensors

/// What enters a stage with one micro-batch. Tokens and targets are known on every rank.
public struct StageInput {
    /// `[rows]`, whole sequences.
    public let tokens: [Int32]
    /// The next token of every row; negative for none.
    public let targets: [Int32]
    /// The output of the stage before; nil for the first stage.
    public let hidden: Tensor?
    /// How this micro-batch's losses enter the step's.
    public let scale: LossScale

    /// Groups what a stage needs.
    public init(tokens: [Int32], targets: [Int32], hidden: Tensor?, scale: LossScale) {
        precondition(tokens.count == targets.count, "\(tokens.count) tokens, \(targets.count) next")
        self.tokens = tokens
        self.targets = targets
        self.hidden = hidden
        self.scale = scale
    }
}

/// The layers that a rank holds for one position in the pipeline, with their backward.
///
/// A micro-batch goes through as a list of parts, cut where an all-to-all travels. An overlapped
/// pair of micro-batches takes its parts in turn.
public final class TrainedStage {
    /// What the layers share.
    public let context: TrainingContext
    /// Main blocks of this stage.
    public let blocks: [TrainedBlock]
    let embedding: Parameter?
    let head: TrainedHead?
    let mtp: TrainedMTP?

    /// - Parameters:
    ///   - layers: The main blocks of the stage.
    ///   - isFirst: Whether it embeds tokens.
    ///   - isLast: Whether it has the head and the losses.
    ///   - shared: Parameters that another stage of this rank already made, by name.
    public init(
        layers: Range<Int>, isFirst: Bool, isLast: Bool, context: TrainingContext,
        sharing: ExpertSharing, shared: [String: Parameter] = [:]
    ) {
        let shape = context.configuration
        self.context = context
        blocks = layers.map { TrainedBlock(layer: $0, context: context, sharing: sharing) }
        let hasMTP = isLast && shape.mtpLayerCount > 0
        let tensors = NetworkTensors(shape)
        func matrix(_ tensor: NetworkTensor) -> Parameter {
            shared[tensor.name] ?? Parameter(tensor)
        }
        embedding = isFirst || hasMTP ? matrix(tensors.embedding) : nil
        let head =
            isLast
            ? TrainedHead(
                norm: tensors.finalNorm, head: matrix(tensors.head), context: context)
            : nil
        self.head = head
        self.isFirst = isFirst
        if hasMTP, let embedding, let head {
            mtp = TrainedMTP(
                embedding: embedding, head: head.head, context: context, sharing: sharing)
        } else {
            mtp = nil
        }
    }

    private let isFirst: Bool

    /// Whether the losses are made here.
    public var isLast: Bool { head != nil }

    /// Every trained value of the stage, each once.
    public var parameters: [Parameter] {
        (embedding.map { [$0] } ?? []) + blocks.flatMap(\.parameters)
            + (head.map { [$0.norm, $0.head] } ?? []) + (mtp?.parameters ?? [])
    }

    /// The parts of a parameter's gradient that this stage makes from micro-batches of the given
    /// slices.
    public func gradientParts(of parameter: Parameter, slices: [Int]) -> [GradientPart] {
        var uses = [0]
        if parameter === embedding {
            uses = (isFirst ? [0] : []) + (mtp == nil ? [] : [TrainedMTP.embeddingUse])
        }
        return uses.flatMap { use in slices.map { GradientPart(use: use, slice: $0) } }
    }

    /// Every routed layer of the stage, the MTP module's included.
    public var routedLayers: [TrainedExperts] {
        (blocks + (mtp.map { [$0.block] } ?? [])).compactMap(\.experts)
    }

    /// Begins one micro-batch's way through the stage.
    public func begin(_ input: StageInput) -> StageMicroBatch {
        StageMicroBatch(stage: self, input: input)
    }

    func embed(_ tokens: [Int32]) -> Tensor {
        guard let embedding else { preconditionFailure("a stage without input or embedding") }
        let x = Tensor(unfilledRows: tokens.count, columns: context.configuration.hiddenSize)
        gatherRows(embedding.value, rows: tokens.map { Int($0) }, into: x, pool: context.pool)
        return x
    }

    func embedBackward(_ tokens: [Int32], _ dx: Tensor) {
        guard isFirst, let embedding else { return }
        context.gradients.add { [context] in
            scatterAddRows(
                dx, rows: tokens.map { Int($0) }, weights: Array(repeating: 1, count: tokens.count),
                into: context.gradient(of: embedding))
        }
    }
}
