public import Tensors
public import Topology
internal import Transport

/// The ranks of a node that compute the products of one rank's rows together, each some outputs.
///
/// The rank with the rows leads: it lays them open in its window, and every rank writes its part
/// of the outputs there. Weights are cut by outputs and never by inputs, so every sum has the
/// order, and the bits, that it has on one rank. All ranks of the node call `run` in the same
/// order, with the same leader.
///
/// 1. The leader writes rows again after it has every output of the product before, so nobody still
///    reads the old ones.
/// 2. A rank writes outputs after the leader announced the product, which it does after it took
///    those of the product before.
///
/// Source: column-parallel products of Megatron-LM (arXiv 1909.08053), section 3; DeepSeek-V3
/// report, §3.4.2, where 4 ranks of a node share the attention of a request.
public final class TensorParallelGroup {
    /// Whether the ranks of this node compute together; else nobody calls `run`.
    public let isShared: Bool
    /// How many ranks they are.
    public let count: Int
    /// Rows of one product at most.
    public let rowLimit: Int

    /// How long a wait polls before it sleeps, in a step of shared products: longer than the
    /// product of an expert, because a sleep and a wake cost as much as several products.
    public static let polling = Duration.microseconds(200)

    private let fabric: any Fabric
    private let window: Window
    private let members: [Rank]
    private let place: Int
    private let inputs: Int
    private let outputs: Int
    private let limit: Duration
    private var sequence: UInt64 = 0

    /// Makes the windows. Collective among all ranks of the group, whose limits it takes.
    ///
    /// - Parameters:
    ///   - inputs: Values of the widest row.
    ///   - outputs: Values of the widest results of one product together.
    ///   - rowLimit: Rows of one product at most.
    ///   - sharers: With more ranks on the node than this, each computes alone. The least that a
    ///     rank of the node says counts: all must do the same.
    public init(
        _ group: ExpertParallelGroup, inputs: Int, outputs: Int, rowLimit: Int,
        sharers: Int = .max
    ) throws {
        precondition(rowLimit < 1 << Self.rowBits, "\(rowLimit) rows of one product")
        fabric = group.fabric
        self.inputs = inputs
        self.outputs = outputs
        self.rowLimit = rowLimit
        limit = group.configuration.limit
        members = fabric.nodeRanks
        count = members.count
        place = members.firstIndex(of: fabric.rank) ?? 0
        let deadline = fabric.deadline(limit, "making windows of shared products")
        isShared = try group.nodeShares(
            upTo: sharers, label: "shared products", deadline: deadline)
        window = try fabric.makeWindow(
            name: "shared products",
            byteCount: isShared ? 4 * rowLimit * (inputs + outputs) : 0,
            signalCount: 2 * members.count, stagingByteCount: 0, deadline: deadline)
    }

    /// Whether this rank is the leader.
    public func isLed(by leader: Rank) -> Bool { leader == fabric.rank }

    /// Computes products of the leader's rows.
    ///
    /// - Precondition: `isShared`; the leader is a rank of this node.
    /// - Parameters:
    ///   - rows: On the leader `[rows, width]`, of at most `rowLimit` rows; not read on others.
    ///   - width: Values of a row.
    ///   - results: On the leader `[rows, width of the result]` each, overwritten; not used on
    ///     others.
    ///   - cut: Which rank computes what of the results.
    ///   - layer: Named in errors.
    ///   - compute: Computes this rank's outputs of the rows that it is given.
    /// - Throws: `TransportError` naming a rank that does not come.
    public func run(
        _ rows: Tensor, width: Int, into results: [Tensor], _ cut: OutputCut, leader: Rank,
        layer: Int, compute: (Tensor, [OutputTarget]) -> Void
    ) throws {
        precondition(isShared && cut.pieces.count == count, "a cut for \(cut.pieces.count) ranks")
        precondition(width <= inputs, "rows of \(width) in a window for \(inputs)")
        sequence += 1
        let deadline = fabric.deadline(limit, "shared product", layer: layer)
        if leader == fabric.rank {
            try lead(rows, width, into: results, cut, deadline, compute)
        } else if !cut.pieces[place].isEmpty {
            try help(leader, width, cut, deadline, compute)
        }
    }

    private func lead(
        _ rows: Tensor, _ width: Int, into results: [Tensor], _ cut: OutputCut,
        _ deadline: Deadline, _ compute: (Tensor, [OutputTarget]) -> Void
    ) throws {
        precondition(
            rows.rows <= rowLimit && rows.columns == width,
            "\(rows.rows) rows of \(rows.columns), \(width) announced, limit \(rowLimit)")
        precondition(
            results.reduce(0) { $0 + $1.columns } <= outputs, "results wider than \(outputs)")
        window.withMutableBytes(0 ..< 4 * rows.count) {
            RowCodec.float32.encode(rows.span, into: &$0)
        }
        for (helper, member) in members.enumerated() where helper != place {
            if cut.pieces[helper].isEmpty { continue }
            try window.signal(
                place, of: member, value: Self.word(of: sequence, rows: rows.rows))
        }
        let own = cut.targets(in: results, of: place)
        if !own.isEmpty { compute(rows, own) }
        for (helper, member) in members.enumerated() where helper != place {
            if cut.pieces[helper].isEmpty { continue }
            try window.wait(
                signal: count + helper, atLeast: sequence, from: member, deadline: deadline,
                polling: Self.polling)
            take(cut, of: helper, rows: rows.rows, into: results)
        }
    }

    /// Copies what a rank computed to where it belongs.
    private func take(_ cut: OutputCut, of helper: Int, rows: Int, into results: [Tensor]) {
        var start = outputRange(cut, of: helper, rows: rows).lowerBound
        for row in 0 ..< rows {
            for piece in cut.pieces[helper] {
                let result = results[piece.result]
                var target = result.mutableRow(row, columns: piece.columns)
                let end = start + 4 * piece.columns.count
                window.withBytes(start ..< end) { RowCodec.float32.decode($0, into: &target) }
                start = end
            }
        }
    }

    private func help(
        _ leader: Rank, _ width: Int, _ cut: OutputCut, _ deadline: Deadline,
        _ compute: (Tensor, [OutputTarget]) -> Void
    ) throws {
        guard let sender = members.firstIndex(of: leader) else {
            preconditionFailure("\(leader) is not on the node of \(fabric.rank)")
        }
        let word = try window.wait(
            signal: sender, atLeast: Self.word(of: sequence, rows: 0), from: leader,
            deadline: deadline, polling: Self.polling)
        let (found, count) = Self.product(in: word)
        guard found == sequence, count <= rowLimit else {
            throw CollectivesError.malformed(
                leader,
                "product \(found) of \(count) rows while \(sequence) of at most"
                    + " \(rowLimit) is expected")
        }
        let rows = Tensor(unfilledRows: count, columns: width)
        withBytes(of: leader, 0 ..< 4 * rows.count) { bytes in
            var target = rows.mutableSpan
            RowCodec.float32.decode(bytes.bytes, into: &target)
        }
        let part = Tensor(unfilledRows: count, columns: cut.width(of: place))
        var column = 0
        let targets = cut.pieces[place].map { piece in
            defer { column += piece.columns.count }
            return OutputTarget(piece: piece, tensor: part, column: column)
        }
        compute(rows, targets)
        withBytes(of: leader, outputRange(cut, of: place, rows: count)) { bytes in
            RowCodec.float32.encode(part.span, into: &bytes)
        }
        try window.signal(self.count + place, of: leader, value: sequence)
    }

    /// Bits of an announcement that say how many rows there are. Those above number the product: a
    /// step has hundreds, and 32 bits of them last for days only.
    private static let rowBits: UInt64 = 16

    /// What a leader announces of a product.
    static func word(of sequence: UInt64, rows: Int) -> UInt64 {
        sequence << rowBits | UInt64(rows)
    }

    /// The product that a leader announced, and its rows.
    static func product(in word: UInt64) -> (sequence: UInt64, rows: Int) {
        (word >> rowBits, Int(word & (1 << rowBits - 1)))
    }

    /// Where in the leader's window the outputs of the rank at a place lie, row after row.
    private func outputRange(_ cut: OutputCut, of place: Int, rows: Int) -> Range<Int> {
        let before = (0 ..< place).reduce(0) { $0 + cut.width(of: $1) }
        let start = 4 * (rowLimit * inputs + rows * before)
        return start ..< start + 4 * rows * cut.width(of: place)
    }

    private func withBytes(
        of leader: Rank, _ range: Range<Int>, _ body: (inout MutableRawSpan) -> Void
    ) {
        let found: Void? = window.withPeerBytes(of: leader, range, body)
        precondition(found != nil, "stores do not reach \(leader) of this node")
    }
}

extension ExpertParallelGroup {
    /// Whether the ranks of this node are to compute something together. Collective among all ranks
    /// of the group.
    ///
    /// - Parameters:
    ///   - sharers: Ranks on the node up to which this rank would. The least that a rank of the
    ///     node says counts.
    func nodeShares(upTo sharers: Int, label: String, deadline: Deadline) throws -> Bool {
        let limits = try fabric.allGather(
            Array("\(sharers)".utf8), label: label, deadline: deadline)
        let members = fabric.nodeRanks
        let least = members.map { Int(String(decoding: limits[$0.rawValue], as: UTF8.self)) ?? 0 }
            .min()
        return members.count > 1 && members.count <= least ?? 0
    }
}
