public import Collectives
import Tensors
public import Topology

/// How a rank's tokens reach the experts of a layer: sorted in place, or by all-to-all.
public enum ExpertExchange {
    /// Every expert is on this rank.
    case local
    /// Experts are shared by the ranks of a group, each where the map says. Forwards and backwards
    /// have windows of their own: in an overlapped pair both are under way, each in its own order.
    case group(forward: ExpertParallelGroup, backward: ExpertParallelGroup, ExpertMap)

    /// The logical experts of this rank in a layer, in its local order.
    ///
    /// - Parameter count: Experts of the layer.
    func experts(layer: Int, of count: Int) -> [ExpertID] {
        switch self {
        case .local: (0 ..< count).map { ExpertID(rawValue: $0) }
        case .group(let group, _, let map): SharedExperts(group, map).experts(layer: layer)
        }
    }

    /// Prepares the travels of one micro-batch through one layer.
    func pass(
        _ routing: Routing, layer: Int, expertCount: Int, pool: ThreadPool
    ) throws -> any ExchangePass {
        switch self {
        case .local: LocalExchange(routing, expertCount: expertCount, pool: pool)
        case .group(let forward, let backward, let map):
            try GroupExchange(
                layout: forward.layout(for: routing, in: map, layer: layer), forward: forward,
                backward: backward)
        }
    }
}

/// Rows that arrived for this rank's experts.
struct ArrivedRows {
    /// Grouped by local expert.
    let rows: Tensor
    /// Where each local expert's rows begin; one more than experts.
    let offsets: [Int]
    /// Gate weight of each row.
    let weights: [Float]
}

/// One micro-batch's way through one layer's experts, forward and then backward.
///
/// Combine's backward is a dispatch along the same layout, and dispatch's backward a combine
/// without weights; the gradients of the gate weights ride home beside the rows.
///
/// Order of calls: `start`, `receive`, `send`, `finish` forward, then the same backward.
protocol ExchangePass: AnyObject {
    /// Starts sending tokens, or the gradients of the outputs, to the experts.
    func start(_ rows: Tensor) throws
    /// Waits for what the other ranks sent.
    func receive() throws -> ArrivedRows
    /// Starts sending outputs home, to be weighted there.
    func send(_ outputs: Tensor) throws
    /// Starts sending input gradients home, and the gradient of each row's gate weight.
    func send(gradients: Tensor, dots: [Float]) throws
    /// Waits for the outputs and adds them.
    func finish(addingInto rows: Tensor) throws
    /// Waits for the input gradients and adds them; returns `[tokens, topK]` weight gradients.
    func finishGradients(addingInto rows: Tensor) throws -> [Float]
}

/// Sorts rows by expert and back.
final class LocalExchange: ExchangePass {
    private let routing: Routing
    private let offsets: [Int]
    private let tokens: [Int]
    private let places: [Int]
    private let pool: ThreadPool
    private var travelling: Tensor?
    private var dots: [Float] = []

    init(_ routing: Routing, expertCount: Int, pool: ThreadPool) {
        self.routing = routing
        self.pool = pool
        var bounds = [Int](repeating: 0, count: expertCount + 1)
        for expert in routing.expertIDs { bounds[Int(expert) + 1] += 1 }
        for expert in 0 ..< expertCount { bounds[expert + 1] += bounds[expert] }
        var next = bounds
        var tokens = [Int](repeating: 0, count: routing.expertIDs.count)
        var places = tokens
        for (choice, expert) in routing.expertIDs.enumerated() {
            let place = next[Int(expert)]
            next[Int(expert)] += 1
            tokens[place] = choice / routing.topK
            places[choice] = place
        }
        offsets = bounds
        self.tokens = tokens
        self.places = places
    }

    func start(_ rows: Tensor) {
        let sorted = Tensor(unfilledRows: tokens.count, columns: rows.columns)
        gatherRows(rows, rows: tokens, into: sorted, pool: pool)
        travelling = sorted
    }

    func receive() -> ArrivedRows {
        guard let rows = travelling.take() else { preconditionFailure("receive without start") }
        var weights = [Float](repeating: 0, count: places.count)
        for (choice, place) in places.enumerated() { weights[place] = routing.weights[choice] }
        return ArrivedRows(rows: rows, offsets: offsets, weights: weights)
    }

    func send(_ outputs: Tensor) { travelling = outputs }

    func send(gradients: Tensor, dots: [Float]) {
        travelling = gradients
        self.dots = dots
    }

    func finish(addingInto rows: Tensor) { addHome(into: rows, weights: routing.weights) }

    func finishGradients(addingInto rows: Tensor) -> [Float] {
        addHome(into: rows, weights: nil)
        return places.map { dots[$0] }
    }

    /// Adds every token's rows in the order of its choices.
    private func addHome(into rows: Tensor, weights: [Float]?) {
        guard let outputs = travelling.take() else { preconditionFailure("finish without send") }
        sumRows(outputs, rows: places, weights: weights, into: rows, pool: pool)
    }
}

/// Sends rows over the ranks of a group.
final class GroupExchange: ExchangePass {
    private var group: ExpertParallelGroup
    private let backward: ExpertParallelGroup
    private let layout: DispatchLayout
    private let hidden: Int
    private var dispatching: DispatchInFlight?
    private var received: ReceivedTokens?
    private var combining: CombineInFlight?

    init(
        layout: DispatchLayout, forward: ExpertParallelGroup, backward: ExpertParallelGroup
    ) {
        group = forward
        self.backward = backward
        self.layout = layout
        hidden = forward.configuration.hiddenSize
    }

    func start(_ rows: Tensor) throws { dispatching = try group.dispatch(rows, layout: layout) }

    func receive() throws -> ArrivedRows {
        guard let inFlight = dispatching.take() else {
            preconditionFailure("receive without start")
        }
        let arrived = try inFlight.wait()
        let rows = Tensor(rows: arrived.rowCount, columns: hidden)
        arrived.gather(into: rows)
        let (offsets, weights) = (arrived.expertOffsets, arrived.weights)
        received = consume arrived
        return ArrivedRows(rows: rows, offsets: offsets, weights: weights)
    }

    func send(_ outputs: Tensor) throws {
        guard let arrived = received.take() else { preconditionFailure("send without receive") }
        combining = try group.combine(
            outputs, for: arrived, weighting: .gate, scalars: dots(outputs))
    }

    /// The group's windows always carry a scalar per row; a forward has none to tell.
    private func dots(_ outputs: Tensor) -> [Float] {
        Array(repeating: 0, count: outputs.rows)
    }

    func send(gradients: Tensor, dots: [Float]) throws {
        guard let arrived = received.take() else { preconditionFailure("send without receive") }
        combining = try group.combine(gradients, for: arrived, weighting: .plain, scalars: dots)
    }

    func finish(addingInto rows: Tensor) throws {
        guard let inFlight = combining.take() else { preconditionFailure("finish without send") }
        try inFlight.wait(addingInto: rows)
        group = backward
    }

    func finishGradients(addingInto rows: Tensor) throws -> [Float] {
        guard let inFlight = combining.take() else { preconditionFailure("finish without send") }
        return try inFlight.waitWithScalars(addingInto: rows)
    }
}
