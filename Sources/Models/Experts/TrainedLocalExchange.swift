import Collectives
import Tensors

/// The exchange of a single rank that trains: every expert is here, so rows are only sorted.
final class TrainedLocalExchange: TrainedExchange {
    private let routing: Routing
    private let order: ExpertOrder
    private let pool: ThreadPool
    private var travelling: Tensor?
    private var dots: [Float] = []

    init(_ routing: Routing, expertCount: Int, pool: ThreadPool) {
        self.routing = routing
        self.pool = pool
        order = ExpertOrder(routing.expertIDs, topK: routing.topK, expertCount: expertCount)
    }

    func start(_ rows: Tensor) { travelling = rows }

    func receive(into memory: (Int) -> Tensor) -> ArrivedRows {
        guard let source = travelling.take() else { preconditionFailure("receive without start") }
        let count = order.tokens.count
        let rows = memory(count)
        gatherRows(source, rows: order.tokens, into: rows, pool: pool)
        var weights = [Float](repeating: 0, count: count)
        for (choice, place) in order.places.enumerated() {
            weights[place] = routing.weights[choice]
        }
        return ArrivedRows(
            rows: rows.view(rows: 0 ..< count), offsets: order.offsets, weights: weights)
    }

    func send(_ outputs: Tensor) { travelling = outputs }

    func send(gradients: Tensor, dots: [Float]) {
        travelling = gradients
        self.dots = dots
    }

    func finish(addingInto rows: Tensor) {
        guard let outputs = travelling.take() else { preconditionFailure("finish without send") }
        sumRows(outputs, rows: order.places, weights: routing.weights, into: rows, pool: pool)
    }

    func finishGradients(addingInto rows: Tensor) -> [Float] {
        guard let gradients = travelling.take() else { preconditionFailure("finish without send") }
        sumRows(gradients, rows: order.places, weights: nil, into: rows, pool: pool)
        return order.places.map { dots[$0] }
    }
}
