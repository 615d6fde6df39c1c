internal import CKernels

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
///   - offsets: `experts + 1` row numbers, ascending: expert e has the rows
///     `offsets[e] ..< offsets[e + 1]`.
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
