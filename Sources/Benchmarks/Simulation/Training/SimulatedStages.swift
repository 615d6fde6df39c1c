import Collectives
import Pipeline
import Tensors
import Topology
import Transport

/// The stages of a simulated rank as the executor calls them: computing is virtual time, and every
/// exchange and every transfer moves its bytes.
///
/// A stage is cut into parts as the trainer cuts it: a part ends where an all-to-all begins to
/// travel.
final class SimulatedStages: CellWorker {
    private let times: TrainingSimulationOptions.BlockTimes
    private let computing: SimulatedComputing
    /// Of the forward and of the backward; none where a rank has all experts.
    let groups: [SimulatedGroup]
    /// By block of a stage.
    private let layouts: [DispatchLayout]
    private let blocks: Int
    let boundary: (rows: Int, columns: Int)
    private let zeros: Tensor
    private var weights: [Double] = []
    private let progress: SimulationProgress

    init(
        _ options: TrainingSimulationOptions, computing: SimulatedComputing,
        groups: [SimulatedGroup], layouts: [DispatchLayout], progress: SimulationProgress
    ) {
        self.progress = progress
        times = options.times
        blocks = options.blocks
        self.computing = computing
        self.groups = groups
        self.layouts = layouts
        boundary = (options.cluster.tokenCount, options.cluster.hiddenSize)
        zeros = Tensor(rows: boundary.rows, columns: boundary.columns)
    }

    /// The exchange of each block, forward or backward, which the parts hold.
    private func travels(_ group: Int) -> [SimulatedTravel] {
        guard groups.indices.contains(group) else { return [] }
        return layouts.enumerated().map { SimulatedTravel(groups[group], $1, block: $0) }
    }

    private func run(_ seconds: Double) -> UInt64 { computing.run(.seconds(seconds)) }

    private static func travel(_ travels: [SimulatedTravel], _ block: Int) -> SimulatedTravel? {
        travels.indices.contains(block) ? travels[block] : nil
    }

    func forward(_ cell: Cell, input: Tensor?) -> [() throws -> Void] {
        let travels = travels(0)
        var parts: [() throws -> Void] = []
        for block in 0 ..< blocks {
            let travel = Self.travel(travels, block)
            let before = Self.travel(travels, block - 1)
            parts.append { [self] in
                try before?.finish(addingInto: zeros)
                let computed = run(times.attention.forward)
                try travel?.start(zeros, after: computed)
            }
            parts.append { [self] in
                try travel?.receive()
                let computed = run(times.experts.forward)
                try travel?.send(.gate, after: computed)
            }
        }
        parts.append { [self] in
            try travels.last?.finish(addingInto: zeros)
            progress.add(1)
        }
        return parts
    }

    func output(of cell: Cell) -> Tensor { zeros }

    func backward(_ cell: Cell, gradient: Tensor?) -> [() throws -> Void] {
        let travels = travels(1)
        var parts: [() throws -> Void] = [
            { [self] in try travels.last?.start(zeros, after: 0) }
        ]
        for block in (0 ..< blocks).reversed() {
            let travel = Self.travel(travels, block)
            let next = Self.travel(travels, block - 1)
            parts.append { [self] in
                try travel?.receive()
                let computed = run(times.experts.backwardInput)
                weights.append(times.experts.backwardWeight)
                try travel?.send(.plain, after: computed)
            }
            parts.append { [self] in
                try travel?.finish(addingInto: zeros)
                let computed = run(times.attention.backwardInput)
                weights.append(times.attention.backwardWeight)
                try next?.start(zeros, after: computed)
                if block == 0 { progress.add(1) }
            }
        }
        return parts
    }

    func inputGradient(of cell: Cell) -> Tensor { zeros }

    func takeWeightGradients(of cell: Cell) -> [() -> Void] {
        defer { weights = [] }
        return weights.map { seconds in { [self] in _ = run(seconds) } }
    }

    func advance() throws { for one in groups { try one.group.advance() } }

    var forwardTravels: Bool { groups.first?.group.isTravelling ?? false }

    var backwardTravels: Bool { groups.last?.group.isTravelling ?? false }

    func release(_ cell: Cell) {}
}
