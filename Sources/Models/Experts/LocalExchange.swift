import Collectives
import Tensors

/// The exchange of a single rank: every expert is here, so rows are only sorted.
///
/// It rounds exactly as travel would, so that one rank and many give the same bits: inputs are
/// rounded by the matrix product itself, outputs by the codec that would carry them home.
final class LocalExchange: TrainedExchange {
    private let routing: Routing
    private let order: ExpertOrder
    private let codec: RowCodec
    private let isTrained: Bool
    private let pool: ThreadPool
    private var travelling: Tensor?
    private var dots: [Float] = []

    /// - Parameters:
    ///   - codec: How outputs would travel home.
    ///   - isTrained: Whether a backward follows.
    init(
        _ routing: Routing, expertCount: Int, codec: RowCodec, isTrained: Bool, pool: ThreadPool
    ) {
        self.routing = routing
        self.codec = codec
        self.isTrained = isTrained
        self.pool = pool
        order = ExpertOrder(routing.expertIDs, topK: routing.topK, expertCount: expertCount)
    }

    func start(_ rows: Tensor) { travelling = rows }

    func receive(into memory: (Int) -> Tensor) -> ArrivedRows {
        guard let source = travelling.take() else { preconditionFailure("receive without start") }
        let count = order.tokens.count
        let rows = memory(count)
        gatherRows(source, rows: order.tokens, into: rows, pool: pool)
        var weights = [Float](repeating: 0, count: isTrained ? count : 0)
        if isTrained {
            for (choice, place) in order.places.enumerated() {
                weights[place] = routing.weights[choice]
            }
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
        guard codec == .float32 else { return addRounded(outputs, into: rows) }
        sumRows(outputs, rows: order.places, weights: routing.weights, into: rows, pool: pool)
    }

    func finishGradients(addingInto rows: Tensor) -> [Float] {
        guard let gradients = travelling.take() else { preconditionFailure("finish without send") }
        sumRows(gradients, rows: order.places, weights: nil, into: rows, pool: pool)
        return order.places.map { dots[$0] }
    }

    /// Adds every token's outputs as the codec would have brought them.
    private func addRounded(_ outputs: Tensor, into rows: Tensor) {
        let topK = routing.topK
        let rowBytes = codec.byteCount(columns: outputs.columns)
        pool.split(rows.rows) { range in
            let parcel = Tensor(rows: 1, columns: (rowBytes + 3) / 4)
            for token in range {
                var target = rows.mutableRow(token)
                for choice in token * topK ..< (token + 1) * topK {
                    var bytes = parcel.mutableBytes
                    codec.encode(outputs.row(order.places[choice]), into: &bytes)
                    codec.accumulate(
                        parcel.bytes, weight: routing.weights[choice], into: &target)
                }
            }
        }
    }
}
