import Collectives
import Tensors

/// The exchange of a rank that shares the experts with the other ranks of a group.
final class GroupExchange: ServingExchange, TrainedExchange {
    private var group: ExpertParallelGroup
    /// Takes the rows of a backward; nil where none follows.
    private let backward: ExpertParallelGroup?
    private let layout: DispatchLayout
    private var dispatching: DispatchInFlight?
    private var received: ReceivedTokens?
    private var combining: CombineInFlight?

    init(
        layout: DispatchLayout, forward: ExpertParallelGroup,
        backward: ExpertParallelGroup? = nil
    ) {
        group = forward
        self.backward = backward
        self.layout = layout
    }

    func start(_ rows: Tensor) throws { dispatching = try group.dispatch(rows, layout: layout) }

    func compute(_ body: (ExpertRows) throws -> Void) throws {
        guard let inFlight = dispatching.take() else {
            preconditionFailure("compute without start")
        }
        let arrived = try inFlight.wait()
        let offsets = arrived.expertOffsets
        try arrived.withRows { inputs, outputs in
            try body(ExpertRows(inputs: inputs, outputs: outputs, offsets: offsets))
        }
        // Another batch's rows may have come meanwhile, for this rank to carry.
        try group.advance()
        combining = try group.combineWritten(arrived)
    }

    func receive(into memory: (Int) -> Tensor) throws -> ArrivedRows {
        guard let inFlight = dispatching.take() else {
            preconditionFailure("receive without start")
        }
        let arrived = try inFlight.wait()
        let count = arrived.rowCount
        let rows = memory(count)
        arrived.gather(into: rows)
        let (offsets, weights) = (arrived.expertOffsets, backward == nil ? [] : arrived.weights)
        received = consume arrived
        return ArrivedRows(rows: rows.view(rows: 0 ..< count), offsets: offsets, weights: weights)
    }

    func send(_ outputs: Tensor) throws {
        guard let arrived = received.take() else { preconditionFailure("send without receive") }
        combining = try group.combine(outputs, for: arrived)
    }

    func send(gradients: Tensor, dots: [Float]) throws {
        guard let arrived = received.take() else { preconditionFailure("send without receive") }
        combining = try group.combine(gradients, for: arrived, weighting: .plain, scalars: dots)
    }

    func finish(addingInto rows: Tensor) throws {
        guard let inFlight = combining.take() else { preconditionFailure("finish without send") }
        try inFlight.wait(addingInto: rows)
        if let backward { group = backward }
    }

    func finishGradients(addingInto rows: Tensor) throws -> [Float] {
        guard let inFlight = combining.take() else { preconditionFailure("finish without send") }
        return try inFlight.waitWithScalars(addingInto: rows)
    }
}
