import Collectives
import Tensors
import Topology

/// The rows of one rank that a benchmark sends and gets back, and the calls that are timed.
protocol MeasuredRows: AnyObject {
    /// Makes the tokens of a round. Not timed.
    func fill(_ rows: TestRows, round: Int, rank: Rank, tokenCount: Int)
    /// Starts the dispatch.
    func dispatch(
        _ routing: Routing, _ group: ExpertParallelGroup, _ map: ExpertMap
    ) throws -> DispatchInFlight
    /// Brings what arrived where experts read it.
    func gather(_ received: borrowing ReceivedTokens)
    /// Does the experts' work. Not timed.
    func compute(_ received: borrowing ReceivedTokens, _ oracle: Oracle, round: Int) throws
    /// Starts the combine.
    func combine(
        _ received: consuming ReceivedTokens, _ group: ExpertParallelGroup
    ) throws -> CombineInFlight
    /// Waits for it.
    func finish(_ returning: consuming CombineInFlight) throws
    /// What came home. Not timed.
    func sums() -> EncodedRows
}

/// The path of a step of serving: f32 rows, gathered for the experts and added to at home.
final class ServingRows: MeasuredRows {
    private let tokens: Tensor
    private let combined: Tensor
    private let checked: EncodedRows
    private let experts: [ExpertID]
    private var inputs: Tensor
    private var outputs: Tensor
    private var tokenCount = 0

    init(_ options: AllToAllOptions, experts: [ExpertID]) {
        let rows = max(1, options.tokenCount)
        tokens = Tensor(rows: rows, columns: options.hiddenSize)
        combined = Tensor(rows: rows, columns: options.hiddenSize)
        checked = EncodedRows(.float32, rows: rows, columns: options.hiddenSize)
        inputs = Tensor(rows: 1, columns: options.hiddenSize)
        outputs = inputs
        self.experts = experts
    }

    func fill(_ rows: TestRows, round: Int, rank: Rank, tokenCount: Int) {
        self.tokenCount = tokenCount
        rows.fill(checked.view(rows: 0 ..< tokenCount), round: round, rank: rank)
        let (tokens, checked) = (tokens, checked)
        for token in 0 ..< tokenCount {
            var target = tokens.mutableRow(token)
            RowCodec.float32.decode(checked.row(token), into: &target)
        }
        combined.fill(0)
    }

    func dispatch(
        _ routing: Routing, _ group: ExpertParallelGroup, _ map: ExpertMap
    ) throws -> DispatchInFlight {
        try group.dispatch(
            tokens.view(rows: 0 ..< tokenCount), routing: routing, in: map, layer: 0)
    }

    func gather(_ received: borrowing ReceivedTokens) {
        let count = received.rowCount
        // A model's workspace grows in the same way.
        if inputs.rows < count {
            inputs = Tensor(unfilledRows: count, columns: tokens.columns)
            outputs = Tensor(unfilledRows: count, columns: tokens.columns)
        }
        received.gather(into: inputs)
    }

    func compute(_ received: borrowing ReceivedTokens, _ oracle: Oracle, round: Int) {
        let offsets = received.expertOffsets
        for (local, expert) in experts.enumerated() {
            let factor = ScalingExpert.factor(expert)
            for row in offsets[local] ..< offsets[local + 1] {
                ScalingExpert.scale(
                    inputs.view(rows: row ..< row + 1), by: factor,
                    into: outputs.view(rows: row ..< row + 1))
            }
        }
    }

    func combine(
        _ received: consuming ReceivedTokens, _ group: ExpertParallelGroup
    ) throws -> CombineInFlight {
        try group.combine(outputs.view(rows: 0 ..< received.rowCount), for: received)
    }

    func finish(_ returning: consuming CombineInFlight) throws {
        try returning.wait(addingInto: combined.view(rows: 0 ..< tokenCount))
    }

    func sums() -> EncodedRows {
        let (combined, checked) = (combined, checked)
        for token in 0 ..< tokenCount {
            var target = checked.mutableRow(token)
            RowCodec.float32.encode(combined.row(token), into: &target)
        }
        return checked.view(rows: 0 ..< tokenCount)
    }
}

/// The library's fastest path: rows rest encoded, and experts work where rows lie in the windows.
final class LibraryRows: MeasuredRows {
    private let tokens: EncodedRows
    private let combined: EncodedRows
    private var tokenCount = 0

    init(_ options: AllToAllOptions) {
        let rows = max(1, options.tokenCount)
        tokens = EncodedRows(options.restingCodec, rows: rows, columns: options.hiddenSize)
        combined = EncodedRows(options.restingCodec, rows: rows, columns: options.hiddenSize)
    }

    func fill(_ rows: TestRows, round: Int, rank: Rank, tokenCount: Int) {
        self.tokenCount = tokenCount
        rows.fill(tokens.view(rows: 0 ..< tokenCount), round: round, rank: rank)
    }

    func dispatch(
        _ routing: Routing, _ group: ExpertParallelGroup, _ map: ExpertMap
    ) throws -> DispatchInFlight {
        try group.dispatch(
            tokens.view(rows: 0 ..< tokenCount), routing: routing, in: map, layer: 0)
    }

    func gather(_ received: borrowing ReceivedTokens) {}

    func compute(_ received: borrowing ReceivedTokens, _ oracle: Oracle, round: Int) throws {
        try oracle.writeOutputs(of: received, round: round)
    }

    func combine(
        _ received: consuming ReceivedTokens, _ group: ExpertParallelGroup
    ) throws -> CombineInFlight {
        try group.combineWritten(received)
    }

    func finish(_ returning: consuming CombineInFlight) throws {
        try returning.wait(into: sums())
    }

    func sums() -> EncodedRows { combined.view(rows: 0 ..< tokenCount) }
}
