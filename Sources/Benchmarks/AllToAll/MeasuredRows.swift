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
    /// Does what experts need before they can read what arrived.
    func place(_ received: borrowing ReceivedTokens) throws
    /// Does the experts' work. Not timed.
    func compute(_ received: borrowing ReceivedTokens, _ oracle: Oracle, round: Int) throws
    /// Starts the combine.
    func combine(
        _ received: consuming ReceivedTokens, _ group: ExpertParallelGroup
    ) throws -> CombineInFlight
    /// Waits for it.
    func finish(_ returning: consuming CombineInFlight) throws
    /// Rows that returned. Not timed.
    func sums() -> EncodedRows
}

/// The path of a step of serving: f32 rows, which experts read and write as they travel, where they
/// lie in the windows, and which are added up at their source.
final class ServingRows: MeasuredRows {
    private let tokens: Tensor
    private let combined: Tensor
    private let checked: EncodedRows
    private let experts: [ExpertID]
    /// One row at an expert.
    private let input: Tensor, output: Tensor
    private var tokenCount = 0

    init(_ options: AllToAllOptions, experts: [ExpertID]) {
        let rows = max(1, options.tokenCount)
        tokens = Tensor(rows: rows, columns: options.hiddenSize)
        combined = Tensor(rows: rows, columns: options.hiddenSize)
        checked = EncodedRows(.float32, rows: rows, columns: options.hiddenSize)
        input = Tensor(rows: 1, columns: options.hiddenSize)
        output = Tensor(rows: 1, columns: options.hiddenSize)
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

    func place(_ received: borrowing ReceivedTokens) throws { try received.withRows { _, _ in } }

    func compute(_ received: borrowing ReceivedTokens, _ oracle: Oracle, round: Int) throws {
        let offsets = received.expertOffsets
        let (input, output) = (input, output)
        try received.withRows { inputs, outputs in
            for (local, expert) in experts.enumerated() {
                let factor = ScalingExpert.factor(expert)
                for row in offsets[local] ..< offsets[local + 1] {
                    inputs.withRow(row) { bytes in
                        var values = input.mutableRow(0)
                        inputs.codec.decode(bytes, into: &values)
                    }
                    ScalingExpert.scale(input, by: factor, into: output)
                    outputs.withMutableRow(row) {
                        outputs.codec.encode(output.row(0), into: &$0)
                    }
                }
            }
        }
    }

    func combine(
        _ received: consuming ReceivedTokens, _ group: ExpertParallelGroup
    ) throws -> CombineInFlight {
        try group.combineWritten(received)
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
        tokens = EncodedRows(options.storedCodec, rows: rows, columns: options.hiddenSize)
        combined = EncodedRows(options.storedCodec, rows: rows, columns: options.hiddenSize)
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

    func place(_ received: borrowing ReceivedTokens) {}

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
