public import Tensors

/// One micro-batch on one stage: its parts in order, forward then backward.
public final class StageMicroBatch {
    private let stage: TrainedStage
    private let input: StageInput
    private var hidden: Tensor
    private var batches: [TrainedBlock.MicroBatch] = []
    private var head: TrainedHead.Saved?
    private var mtp: TrainedMTP.MicroBatch?
    private var gradient: Tensor?

    /// The losses of this micro-batch, on the last stage.
    public private(set) var losses = LossSums()
    /// The first block of the stage whose output was not finite.
    public private(set) var notFiniteLayer: Int?

    init(stage: TrainedStage, input: StageInput) {
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
                batches.append(try block.start(hidden, lossShare: input.scale.balance))
            }
            parts.append { [self] in try batches[index].compute() }
        }
        parts.append { [self] in
            if !batches.isEmpty { try finish(batches.count - 1) }
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
        hidden = try batches[index].finish()
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
            if last >= 0 { try batches[last].startBackward(flowing) }
        }
        for index in stride(from: last, through: 0, by: -1) {
            parts.append { [self] in try batches[index].computeBackward() }
            parts.append { [self] in
                let dx = try batches[index].finishBackward()
                batches.removeLast()
                gradient = dx
                if index > 0 {
                    try batches[index - 1].startBackward(dx)
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
