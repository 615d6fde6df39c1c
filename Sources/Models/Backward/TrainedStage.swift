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
/// A micro-batch goes through as a list of parts, cut where an all-to-all travels. Whoever runs two
/// micro-batches at once takes their parts in turn.
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
        exchange: ExpertExchange, shared: [String: Parameter] = [:]
    ) {
        let shape = context.configuration
        self.context = context
        blocks = layers.map { TrainedBlock(layer: $0, context: context, exchange: exchange) }
        let hasMTP = isLast && shape.mtpLayerCount > 0
        func matrix(_ name: String) -> Parameter {
            shared[name]
                ?? Parameter(
                    name: name, rows: shape.vocabularySize, columns: shape.hiddenSize,
                    staysWide: true)
        }
        embedding = isFirst || hasMTP ? matrix("model.embed_tokens.weight") : nil
        let head =
            isLast
            ? TrainedHead(
                normName: "model.norm.weight", head: matrix("lm_head.weight"), context: context)
            : nil
        self.head = head
        self.isFirst = isFirst
        if hasMTP, let embedding, let head {
            mtp = TrainedMTP(
                embedding: embedding, head: head.head, context: context, exchange: exchange)
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
    public func pass(_ input: StageInput) -> StagePass { StagePass(stage: self, input: input) }

    fileprivate func embed(_ tokens: [Int32]) -> Tensor {
        guard let embedding else { preconditionFailure("a stage without input or embedding") }
        let x = Tensor(unfilledRows: tokens.count, columns: context.configuration.hiddenSize)
        gatherRows(embedding.value, rows: tokens.map { Int($0) }, into: x, pool: context.pool)
        return x
    }

    fileprivate func embedBackward(_ tokens: [Int32], _ dx: Tensor) {
        guard isFirst, let embedding else { return }
        context.gradients.add { [context] in
            scatterAddRows(
                dx, rows: tokens.map { Int($0) }, weights: Array(repeating: 1, count: tokens.count),
                into: context.gradient(of: embedding))
        }
    }
}

/// One micro-batch on one stage: its parts in order, forward then backward.
public final class StagePass {
    private let stage: TrainedStage
    private let input: StageInput
    private var hidden: Tensor
    private var passes: [TrainedBlock.Pass] = []
    private var head: TrainedHead.Saved?
    private var mtp: TrainedMTP.Pass?
    private var gradient: Tensor?

    /// The losses of this micro-batch, on the last stage.
    public private(set) var losses = LossSums()
    /// The first block of the stage whose output was not finite.
    public private(set) var notFiniteLayer: Int?

    fileprivate init(stage: TrainedStage, input: StageInput) {
        self.stage = stage
        self.input = input
        hidden = input.hidden ?? stage.embed(input.tokens)
    }

    /// What the stage gives to the next one, after the last forward part.
    public var output: Tensor { hidden }

    /// The gradient of the stage's input, after the last backward part.
    public var inputGradient: Tensor? { gradient }

    /// The forward in parts; between one part and the next an all-to-all travels.
    public func forwardParts() -> [() throws -> Void] {
        var parts: [() throws -> Void] = []
        for (index, block) in stage.blocks.enumerated() {
            parts.append { [self] in
                if index > 0 { try finish(index - 1) }
                passes.append(try block.start(hidden, lossShare: input.scale.balance))
            }
            parts.append { [self] in try passes[index].compute() }
        }
        parts.append { [self] in
            if !passes.isEmpty { try finish(passes.count - 1) }
            guard let head = stage.head else { return }
            let (sum, saved) = head.loss(hidden, targets: input.targets, scale: input.scale.main)
            losses.main = sum
            self.head = saved
            if let mtp = stage.mtp {
                self.mtp = try mtp.start(
                    saved.normed, targets: input.targets, lossShare: input.scale.balance)
            }
        }
        if let mtp = stage.mtp {
            parts.append { [self] in try mtp.compute(self.mtp!) }
            parts.append { [self] in
                losses.mtp = try mtp.loss(
                    self.mtp!, targets: input.targets, scale: input.scale.mtp)
            }
        }
        return parts
    }

    private func finish(_ index: Int) throws {
        hidden = try passes[index].finish()
        if notFiniteLayer == nil && !sumOfSquares(hidden, pool: stage.context.pool).isFinite {
            notFiniteLayer = stage.blocks[index].layer
        }
    }

    /// The backward for input in parts; weight gradients are left in the context's queue.
    ///
    /// - Parameter dy: Of the stage's output; nil on the last stage, which has the loss.
    public func backwardParts(_ dy: Tensor?) -> [() throws -> Void] {
        var parts: [() throws -> Void] = []
        if let mtp = stage.mtp {
            parts.append { [self] in try mtp.startBackward(self.mtp!) }
            parts.append { [self] in try mtp.computeBackward(self.mtp!) }
        }
        let last = stage.blocks.count - 1
        parts.append { [self] in
            var flowing = dy
            if let head = stage.head, let saved = self.head.take() {
                let dNormed = head.headBackward(saved)
                if let mtp = stage.mtp { try mtp.finishBackward(self.mtp!, addingInto: dNormed) }
                self.mtp = nil
                flowing = head.normBackward(saved, dNormed: dNormed)
            }
            guard let flowing else { preconditionFailure("a backward without gradient") }
            gradient = flowing
            if last >= 0 { try passes[last].startBackward(flowing) }
        }
        for index in stride(from: last, through: 0, by: -1) {
            parts.append { [self] in try passes[index].computeBackward() }
            parts.append { [self] in
                let dx = try passes[index].finishBackward()
                passes.removeLast()
                gradient = dx
                if index > 0 {
                    try passes[index - 1].startBackward(dx)
                } else {
                    stage.embedBackward(input.tokens, dx)
                }
            }
        }
        return parts
    }

    /// Runs the whole forward.
    public func forward() throws { for part in forwardParts() { try part() } }

    /// Runs the whole backward for input.
    public func backward(_ dy: Tensor?) throws { for part in backwardParts(dy) { try part() } }
}
