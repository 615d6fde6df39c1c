public import Tensors
internal import Topology
internal import Transport

/// A large matrix that the ranks of a node multiply together: each computes its slice of the
/// outputs for the rows of all.
///
/// Alone, each would read the whole matrix, and a rank without rows would stand idle meanwhile.
/// An output has the same bits on every rank that computes it. All ranks of the node call `run` in
/// the same order, a rank without rows too.
///
/// 1. A rank's rows are read only between its announcement and the last `done` for it, for which it
///    waits before it writes rows again.
/// 2. Results are written to a rank only after its announcement, which it makes after it took the
///    results before.
/// 3. No rank is ahead of another by two: it would need an announcement that was not made. So two
///    words per rank, taken in turn, suffice for announcements.
public final class NodeProduct {
    /// The outputs of each rank of the node.
    public let slices: [Range<Int>]
    /// This rank's place among them.
    public let place: Int
    /// Rows of one rank that fit; with more, each rank multiplies alone.
    package static let rowLimit = 64
    /// Outputs of a slice are a multiple of this, so that no panel of the kernels is cut.
    private static let granule = 128

    private let fabric: any Fabric
    private let window: Window
    private let members: [Rank]
    private let inputs: Int
    private let outputs: Int
    private let limit: Duration
    private var sequence: UInt64 = 0

    /// Makes the windows. Collective among all ranks of the group, whose limits it takes.
    ///
    /// - Parameters:
    ///   - inputs: Values of a row.
    ///   - outputs: Values of its result.
    ///   - sharers: With more ranks on the node than this, each multiplies alone. The least that a
    ///     rank of the node says counts: all must do the same.
    public init(
        _ group: ExpertParallelGroup, inputs: Int, outputs: Int, sharers: Int = .max
    ) throws {
        fabric = group.fabric
        self.inputs = inputs
        self.outputs = outputs
        limit = group.configuration.limit
        members = fabric.nodeRanks
        place = members.firstIndex(of: fabric.rank) ?? 0
        let granules = (outputs + Self.granule - 1) / Self.granule
        slices = members.indices.map { [count = members.count] index in
            let first = granules * index / count * Self.granule
            return first ..< min(outputs, granules * (index + 1) / count * Self.granule)
        }
        let deadline = fabric.deadline(limit, "making a node product")
        isShared =
            try group.nodeShares(upTo: sharers, label: "node product", deadline: deadline)
            && !slices.contains(where: \.isEmpty)
        window = try fabric.makeWindow(
            name: "node product",
            byteCount: isShared ? 4 * Self.rowLimit * (inputs + outputs) : 0,
            signalCount: 3 * members.count, stagingByteCount: 0, deadline: deadline)
    }

    /// Whether the ranks of this node multiply together; else nobody calls `run`.
    public let isShared: Bool

    /// Multiplies this rank's rows, together with the node.
    ///
    /// - Precondition: `isShared`.
    /// - Parameters:
    ///   - rows: `[rows, inputs]`.
    ///   - results: `[rows, outputs]`, overwritten.
    ///   - multiply: Computes this rank's slice: `[rows of all, inputs]` to
    ///     `[rows of all, slice]`.
    /// - Returns: False if nothing was done, because some rank has more rows than fit.
    /// - Throws: `TransportError` naming a rank that does not come.
    public func run(
        _ rows: Tensor, into results: Tensor, multiply: (Tensor, Tensor) -> Void
    ) throws -> Bool {
        precondition(isShared, "a node product of one rank")
        precondition(rows.rows == 0 || rows.columns == inputs, "rows of \(rows.columns)")
        precondition(results.rows == rows.rows && results.columns == outputs, "results differ")
        sequence += 1
        let deadline = fabric.deadline(limit, "head")
        let counts = try announce(rows, deadline)
        guard counts.allSatisfy({ $0 <= Self.rowLimit }) else { return false }
        let all = counts.reduce(0, +)
        guard all > 0 else { return true }
        let gathered = Tensor(unfilledRows: all, columns: inputs)
        var next = 0
        for (member, count) in counts.enumerated() {
            for row in 0 ..< count {
                var target = gathered.mutableRow(next)
                read(member, row) { RowCodec.float32.decode($0, into: &target) }
                next += 1
            }
        }
        let slice = slices[place]
        let part = Tensor(unfilledRows: all, columns: slice.count)
        if !slice.isEmpty { multiply(gathered, part) }
        try handOut(part, counts)
        try collect(into: results, deadline)
        return true
    }

    /// Says to the node how many rows this rank has and where they lie, and waits for the same of
    /// the others.
    private func announce(_ rows: Tensor, _ deadline: Deadline) throws -> [Int] {
        if rows.rows <= Self.rowLimit {
            for row in 0 ..< rows.rows {
                window.withMutableBytes(rowRange(row)) {
                    RowCodec.float32.encode(rows.row(row), into: &$0)
                }
            }
        }
        let parity = Int(sequence & 1)
        // More rows than fit are more than fit, however many.
        let said = TensorParallelGroup.word(
            of: sequence, rows: min(rows.rows, Self.rowLimit + 1))
        for member in members where member != fabric.rank {
            try window.signal(2 * place + parity, of: member, value: said)
        }
        return try members.enumerated().map { index, member in
            if index == place { return rows.rows }
            let word = try window.wait(
                signal: 2 * index + parity,
                atLeast: TensorParallelGroup.word(of: sequence, rows: 0), from: member,
                deadline: deadline, polling: TensorParallelGroup.polling)
            let (found, count) = TensorParallelGroup.product(in: word)
            guard found == sequence else {
                throw CollectivesError.malformed(
                    member, "product \(found) while \(sequence) is expected")
            }
            return count
        }
    }

    /// Writes this rank's slice of everybody's results where they are wanted.
    private func handOut(_ part: Tensor, _ counts: [Int]) throws {
        var next = 0
        for (member, count) in counts.enumerated() where count > 0 {
            for row in 0 ..< count {
                let range = resultRange(row, slices[place])
                if slices[place].isEmpty { continue }
                write(member, range) { RowCodec.float32.encode(part.row(next), into: &$0) }
                next += 1
            }
            if member != place {
                try window.signal(2 * members.count + place, of: members[member], value: sequence)
            }
        }
    }

    /// Waits for every slice of this rank's results.
    private func collect(into results: Tensor, _ deadline: Deadline) throws {
        guard results.rows > 0 else { return }
        for (index, member) in members.enumerated() where index != place {
            try window.wait(
                signal: 2 * members.count + index, atLeast: sequence, from: member,
                deadline: deadline, polling: TensorParallelGroup.polling)
        }
        for row in 0 ..< results.rows {
            var target = results.mutableRow(row)
            window.withBytes(resultRange(row, 0 ..< outputs)) {
                RowCodec.float32.decode($0, into: &target)
            }
        }
    }

    private func rowRange(_ row: Int) -> Range<Int> { 4 * inputs * row ..< 4 * inputs * (row + 1) }

    private func resultRange(_ row: Int, _ slice: Range<Int>) -> Range<Int> {
        let start = 4 * (Self.rowLimit * inputs + row * outputs)
        return start + 4 * slice.lowerBound ..< start + 4 * slice.upperBound
    }

    private func read(_ member: Int, _ row: Int, _ body: (RawSpan) -> Void) {
        if member == place { return window.withBytes(rowRange(row), body) }
        let found: Void? = window.withPeerBytes(of: members[member], rowRange(row)) {
            body($0.bytes)
        }
        precondition(found != nil, "stores do not reach \(members[member]) of this node")
    }

    private func write(_ member: Int, _ range: Range<Int>, _ body: (inout MutableRawSpan) -> Void) {
        if member == place { return window.withMutableBytes(range, body) }
        let found: Void? = window.withPeerBytes(of: members[member], range, body)
        precondition(found != nil, "stores do not reach \(members[member]) of this node")
    }
}
