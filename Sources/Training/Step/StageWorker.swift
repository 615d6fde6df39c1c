import Collectives
import Models
import Pipeline
import Tensors

/// The stages of one rank, as the executor calls them.
final class StageWorker: CellWorker {
    /// By number, those that this rank holds.
    let stages: [StageID: TrainedStage]
    private let context: TrainingContext
    private let groups: [ExpertParallelGroup]
    private var microBatches: [MicroBatch] = []
    private var scale = LossScale(main: 1, mtp: 1, balance: 1)
    /// What runs forward and backward through a stage, by cell, until it is released.
    private var running: [Cell: StageMicroBatch] = [:]

    /// Which half of `count` micro-batches one belongs to. DualPipe sends each half another way.
    static func slice(of microBatch: MicroBatchID, count: Int) -> Int {
        2 * microBatch.rawValue < count ? 0 : 1
    }

    /// The losses of the micro-batches that ran through the last stage here.
    private(set) var losses = LossSums()
    /// By micro-batch, the first layer here whose output was not finite; the number of layers where
    /// only the loss was not.
    private(set) var notFiniteLayers: [Int: Int] = [:]

    /// Serves the stages that this rank holds.
    ///
    /// - Parameter groups: The all-to-all of their experts.
    init(
        stages: [StageID: TrainedStage], context: TrainingContext,
        groups: [ExpertParallelGroup] = []
    ) {
        self.stages = stages
        self.context = context
        self.groups = groups
    }

    /// Lets other ranks' tokens go on that wait here.
    func advance() throws { for group in groups { try group.advance() } }

    /// Whether an exchange of the forward under way has not arrived.
    var forwardTravels: Bool { groups.first?.isTravelling ?? false }

    /// Whether an exchange of the backward under way has not arrived.
    var backwardTravels: Bool { groups.last?.isTravelling ?? false }

    /// Sets the step's data.
    func begin(_ microBatches: [MicroBatch], scale: LossScale) {
        self.microBatches = microBatches
        self.scale = scale
        losses = LossSums()
        notFiniteLayers = [:]
        running = [:]
    }

    /// Rows of a micro-batch and the hidden size.
    var boundary: (rows: Int, columns: Int) {
        (microBatches.first?.tokens.count ?? 0, context.configuration.hiddenSize)
    }

    private func stage(_ cell: Cell) -> TrainedStage {
        guard let stage = stages[cell.stage] else {
            preconditionFailure("stage \(cell.stage.rawValue) is not on this rank")
        }
        return stage
    }

    private func work(_ cell: Cell) -> StageMicroBatch {
        guard let work = running[cell] else { preconditionFailure("\(cell) did not run forward") }
        return work
    }

    /// The parts of a stage's forward; the last one adds the losses.
    func forward(_ cell: Cell, input: Tensor?) throws -> [() throws -> Void] {
        let data = microBatches[cell.microBatch.rawValue]
        let work = stage(cell).begin(
            StageInput(tokens: data.tokens, targets: data.targets, hidden: input, scale: scale))
        running[cell] = work
        return work.forwardParts() + [
            { [self] in
                losses.main += work.losses.main
                losses.mtp += work.losses.mtp
                let isFinite = work.losses.main.isFinite && work.losses.mtp.isFinite
                let layers = context.configuration.layerCount
                if let layer = work.notFiniteLayer ?? (isFinite ? nil : layers) {
                    let earlier = notFiniteLayers[cell.microBatch.rawValue] ?? layers
                    notFiniteLayers[cell.microBatch.rawValue] = min(layer, earlier)
                }
            }
        ]
    }

    /// The stage's output.
    func output(of cell: Cell) -> Tensor { work(cell).output }

    /// The parts of a stage's backward for input.
    func backward(_ cell: Cell, gradient: Tensor?) throws -> [() throws -> Void] {
        work(cell).backwardParts(gradient).map { part in
            { [self] in
                enter(cell)
                try part()
            }
        }
    }

    private func enter(_ cell: Cell) {
        context.gradientSlice = Self.slice(of: cell.microBatch, count: microBatches.count)
    }

    /// The gradient of the stage's input.
    func inputGradient(of cell: Cell) -> Tensor {
        guard let gradient = work(cell).inputGradient else {
            preconditionFailure("\(cell) did not run backward")
        }
        return gradient
    }

    /// Weight gradients that the last parts left.
    func takeWeightGradients(of cell: Cell) -> [() -> Void] {
        context.gradients.take().map { work in
            { [self] in
                enter(cell)
                work()
            }
        }
    }

    /// Frees the activations of a cell.
    func release(_ cell: Cell) { running[cell] = nil }
}
