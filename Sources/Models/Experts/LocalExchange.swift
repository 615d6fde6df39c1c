import Collectives
import Tensors

/// The exchange of a single rank that serves: every expert is here, so rows only get an order.
///
/// It rounds exactly as travel would, so that one rank and many give the same bits: inputs are
/// rounded by the matrix product itself, outputs lie in the codec that would carry them home.
final class LocalExchange: ServingExchange {
    private let routing: Routing
    private let order: ExpertOrder
    private let memory: (Int) -> EncodedRows
    private let pool: ThreadPool
    private var travelling: Tensor?
    private var outputs: EncodedRows?

    /// - Parameter memory: Gives so many rows for outputs, in the codec in which they would travel.
    init(
        _ routing: Routing, expertCount: Int, memory: @escaping (Int) -> EncodedRows,
        pool: ThreadPool
    ) {
        self.routing = routing
        self.memory = memory
        self.pool = pool
        order = ExpertOrder(routing.expertIDs, topK: routing.topK, expertCount: expertCount)
    }

    func start(_ rows: Tensor) { travelling = rows }

    func compute(_ body: (ExpertRows) throws -> Void) throws {
        guard let source = travelling.take() else { preconditionFailure("compute without start") }
        let count = order.tokens.count
        let results = memory(count)
        let inputs = ScatteredRows(.float32, columns: source.columns)
        let outputs = ScatteredRows(results.codec, columns: results.columns)
        inputs.begin(count: count)
        outputs.begin(count: count)
        var bytes = results.mutableBytes
        try outputs.withArea(writing: &bytes) { area in
            for row in 0 ..< count {
                outputs.place(row, area: area, offset: row * results.rowStride)
            }
            try inputs.withArea(reading: source.bytes) { area in
                let rowBytes = RowCodec.float32.byteCount(columns: source.columns)
                for (row, token) in order.tokens.enumerated() {
                    inputs.place(row, area: area, offset: token * rowBytes)
                }
                try body(ExpertRows(inputs: inputs, outputs: outputs, offsets: order.offsets))
            }
        }
        self.outputs = results
    }

    func finish(addingInto rows: Tensor) {
        guard let outputs = outputs.take() else { preconditionFailure("finish without compute") }
        let topK = routing.topK
        pool.split(rows.rows) { range in
            let sum = RowSum(outputs.codec, columns: outputs.columns, capacity: topK)
            sum.withArea(outputs.bytes) { area in
                var terms: [RowTerm] = []
                for token in range {
                    terms.removeAll(keepingCapacity: true)
                    for choice in token * topK ..< (token + 1) * topK {
                        terms.append(
                            RowTerm(
                                area: area, offset: order.places[choice] * outputs.rowStride,
                                weight: routing.weights[choice]))
                    }
                    var target = rows.mutableRow(token)
                    sum.add(terms, into: &target)
                }
            }
        }
    }
}
