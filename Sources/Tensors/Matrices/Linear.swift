internal import CKernels

/// y = x · wᵀ for every row of x.
///
/// A row of y depends on that row of x, on `weight` and on `compute`, to the bit: not on the
/// other rows nor on the threads.
///
/// - Parameters:
///   - x: `[rows, inputs]`.
///   - y: `[rows, outputs]`, overwritten.
public func linear(
    _ x: Tensor, _ weight: Weight, into y: Tensor, compute: Compute, pool: ThreadPool
) {
    linear([LinearPart(x, weight, into: y)], compute: compute, pool: pool)
}

/// One product among several that run together; a slice of the columns on either side.
public struct LinearPart {
    let x: Tensor
    let xColumn: Int
    let weight: Weight
    let y: Tensor
    let yColumn: Int
    let rows: Range<Int>

    /// - Parameters:
    ///   - column: Where in a row of `x` the weight's inputs begin.
    ///   - yColumn: Where in a row of `y` its outputs begin.
    ///   - rows: The rows of x and y that take part; all when nil.
    public init(
        _ x: Tensor, column: Int = 0, _ weight: Weight, into y: Tensor, column yColumn: Int = 0,
        rows: Range<Int>? = nil
    ) {
        let rows = rows ?? 0 ..< x.rows
        precondition(
            rows.lowerBound >= 0 && rows.upperBound <= x.rows && rows.upperBound <= y.rows,
            "rows \(rows) of \(x.rows) in, \(y.rows) out")
        precondition(
            column >= 0 && column + weight.inputs <= x.columns,
            "\(weight.inputs) inputs at column \(column) of \(x.columns)")
        precondition(
            yColumn >= 0 && yColumn + weight.outputs <= y.columns,
            "\(weight.outputs) outputs at column \(yColumn) of \(y.columns)")
        self.x = x
        xColumn = column
        self.weight = weight
        self.y = y
        self.yColumn = yColumn
        self.rows = rows
    }
}

/// Several independent products in one fork and join: projections of the same input, the heads of
/// an attention layer, the experts of a layer.
public func linear(_ parts: [LinearPart], compute: Compute, pool: ThreadPool) {
    unsafe withPackedWeights(parts.map(\.weight)) { weights in
        let jobs = unsafe parts.indices.map { i in
            let part = parts[i]
            return unsafe ck_linear_job(
                weight: weights + i,
                x: UnsafePointer(
                    part.x.base + part.rows.lowerBound * part.x.columns + part.xColumn),
                x_stride: part.x.columns,
                y: part.y.base + part.rows.lowerBound * part.y.columns + part.yColumn,
                y_stride: part.y.columns, rows: Int32(part.rows.count))
        }
        unsafe ck_linear(jobs, Int32(jobs.count), compute.code, pool.handle)
    }
}

/// One weight per group of consecutive rows, in one fork and join over groups and outputs.
///
/// - Parameters:
///   - offsets: `groups + 1` row numbers, ascending: group g is rows `offsets[g] ..< offsets[g+1]`.
public func groupedLinear(
    _ x: Tensor, offsets: [Int], weights: [Weight], into y: Tensor, compute: Compute,
    pool: ThreadPool
) {
    check(offsets: offsets, groups: weights.count, rows: x.rows)
    let parts = weights.indices.compactMap { g in
        offsets[g] == offsets[g + 1]
            ? nil : LinearPart(x, weights[g], into: y, rows: offsets[g] ..< offsets[g + 1])
    }
    linear(parts, compute: compute, pool: pool)
}

/// The three matrices of one expert, or of a dense or shared feed-forward layer.
public struct ExpertWeights: Sendable {
    /// What silu is taken of, `[intermediate, hidden]`.
    public let gate: Weight
    /// What it multiplies, `[intermediate, hidden]`.
    public let up: Weight
    /// The way back, `[hidden, intermediate]`.
    public let down: Weight

    public init(gate: Weight, up: Weight, down: Weight) {
        precondition(
            gate.outputs == up.outputs && gate.inputs == up.inputs
                && down.inputs == gate.outputs,
            """
            gate \(gate.outputs)x\(gate.inputs), up \(up.outputs)x\(up.inputs), \
            down \(down.outputs)x\(down.inputs) do not form an expert
            """)
        self.gate = gate
        self.up = up
        self.down = down
    }
}

/// y = down(silu(gate(x)) * up(x)) for rows grouped by expert, in two forks and joins.
///
/// - Parameters:
///   - x: `[rows, hidden]`, grouped.
///   - offsets: As for `groupedLinear`.
///   - y: `[rows, hidden]`, overwritten.
public func expertLayer(
    _ x: Tensor, offsets: [Int], experts: [ExpertWeights], into y: Tensor, compute: Compute,
    pool: ThreadPool
) {
    check(offsets: offsets, groups: experts.count, rows: x.rows)
    precondition(y.rows >= x.rows, "\(y.rows) rows for \(x.rows)")
    let used = experts.indices.filter { offsets[$0] < offsets[$0 + 1] }
    let matrices = used.flatMap { [experts[$0].gate, experts[$0].up, experts[$0].down] }
    unsafe withPackedWeights(matrices) { weights in
        let jobs = unsafe used.enumerated().map { index, e in
            precondition(
                x.columns == experts[e].gate.inputs && y.columns == experts[e].down.outputs,
                "expert \(e) maps \(experts[e].gate.inputs) to \(experts[e].down.outputs)")
            let matrix = unsafe weights + 3 * index
            return unsafe ck_expert_job(
                gate: matrix, up: matrix + 1, down: matrix + 2,
                x: UnsafePointer(x.base + offsets[e] * x.columns), x_stride: x.columns,
                y: y.base + offsets[e] * y.columns, y_stride: y.columns,
                rows: Int32(offsets[e + 1] - offsets[e]))
        }
        unsafe ck_experts(jobs, Int32(jobs.count), compute.code, pool.handle)
    }
}

/// A dense or shared feed-forward layer: one expert that every row uses.
public func expertLayer(
    _ x: Tensor, _ expert: ExpertWeights, into y: Tensor, compute: Compute, pool: ThreadPool
) {
    expertLayer(
        x, offsets: [0, x.rows], experts: [expert], into: y, compute: compute, pool: pool)
}

private func check(offsets: [Int], groups: Int, rows: Int) {
    precondition(offsets.count == groups + 1, "\(offsets.count) offsets for \(groups) groups")
    precondition(
        offsets.first == 0 && offsets.last! <= rows
            && zip(offsets, offsets.dropFirst()).allSatisfy { $0 <= $1 },
        "offsets \(offsets) do not cut \(rows) rows")
}

private func withPackedWeights(
    _ weights: [Weight], _ body: (UnsafePointer<ck_weight>) -> Void
) {
    let packed = unsafe weights.map { unsafe $0.packed }
    unsafe packed.withUnsafeBufferPointer { buffer in
        if let base = buffer.baseAddress { unsafe body(base) }
    }
}
