internal import CKernels

/// The three matrices of one expert, or of a dense or shared feed-forward layer.
public struct ExpertWeights: Sendable {
    /// What silu is taken of, `[intermediate, hidden]`.
    public let gate: Weight
    /// What it multiplies, `[intermediate, hidden]`.
    public let up: Weight
    /// The way back, `[hidden, intermediate]`.
    public let down: Weight
    /// What is added to their outputs; nil for nothing.
    let biases: ExpertBiases?
    /// What takes the place of silu(gate) * up; nil for that.
    let activation: ClampedSwiGLU?

    public init(
        gate: Weight, up: Weight, down: Weight, biases: ExpertBiases? = nil,
        activation: ClampedSwiGLU? = nil
    ) {
        precondition(
            gate.outputs == up.outputs && gate.inputs == up.inputs
                && down.inputs == gate.outputs,
            """
            gate \(gate.outputs)x\(gate.inputs), up \(up.outputs)x\(up.inputs), \
            down \(down.outputs)x\(down.inputs) do not form an expert
            """)
        if let biases {
            precondition(
                biases.width == gate.outputs && biases.down.count == down.outputs,
                "biases of \(biases.width) and \(biases.down.count) values")
        }
        self.gate = gate
        self.up = up
        self.down = down
        self.biases = biases
        self.activation = activation
    }
}

extension ExpertWeights {
    /// Whether `hiddenValues` may compute a part of the hidden values by itself: no bias, no other
    /// activation, and one form of inputs.
    public var canBeCut: Bool { biases == nil && activation == nil && gate.format == up.format }
}

/// silu(gate(x)) * up(x) for some of the hidden values of a feed-forward layer.
///
/// With the product by `down` after it, the bits are those of `expertLayer`.
///
/// - Precondition: `expert.canBeCut`.
/// - Parameters:
///   - x: `[rows, hidden]`.
///   - values: Which of them, cut at multiples of `Weight.panelOutputs`.
///   - y: `[rows, columns]`, which receives them from column `column` on.
public func hiddenValues(
    _ values: Range<Int>, of expert: ExpertWeights, _ x: Tensor, into y: Tensor,
    column: Int = 0, compute: Compute, pool: ThreadPool
) {
    precondition(expert.canBeCut, "an expert with biases, or with another activation")
    let gate = Tensor(unfilledRows: x.rows, columns: values.count)
    let up = Tensor(unfilledRows: x.rows, columns: values.count)
    linear(
        [
            LinearPart(x, expert.gate, outputs: values, into: gate),
            LinearPart(x, expert.up, outputs: values, into: up),
        ], compute: compute, pool: pool)
    swiglu(gate, up, into: gate, pool: pool)
    copyColumns(0 ..< values.count, of: gate, into: y, at: column, pool: pool)
}

/// What is added to the outputs of an expert's matrices.
public struct ExpertBiases: Sendable {
    /// Values of gate and of up.
    let width: Int
    /// With zeros to the end of the last panel.
    let gate: Tensor
    /// With zeros to the end of the last panel.
    let up: Tensor
    /// `[hidden]`.
    let down: Tensor

    /// - Parameters:
    ///   - gate: `[intermediate]`.
    ///   - up: `[intermediate]`.
    ///   - down: `[hidden]`.
    public init(gate: [Float], up: [Float], down: [Float]) {
        precondition(gate.count == up.count, "\(gate.count) and \(up.count) values")
        func row(_ values: [Float], padding: Int) -> Tensor {
            let zeros = [Float](repeating: 0, count: padding)
            return Tensor(rows: 1, columns: values.count + padding, values: values + zeros)
        }
        let panel = Int(CK_PANEL)
        let padding = (panel - gate.count % panel) % panel
        width = gate.count
        self.gate = row(gate, padding: padding)
        self.up = row(up, padding: padding)
        self.down = row(down, padding: 0)
    }
}

/// g sigmoid(alpha g) (u + 1), of a gate g of at most `limit` and of u within its two sides: the
/// activation of gpt-oss, in place of silu(gate) * up.
public struct ClampedSwiGLU: Sendable, Equatable {
    /// Factor on the gate inside the sigmoid.
    public let alpha: Float
    /// Above 0.
    public let limit: Float

    public init(alpha: Float, limit: Float) {
        precondition(limit > 0, "a limit of \(limit)")
        self.alpha = alpha
        self.limit = limit
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
    precondition(y.rows >= x.rows, "\(y.rows) rows for \(x.rows)")
    let plan = ExpertPlan(
        offsets, experts, rows: x.rows, inputs: x.columns, outputs: y.columns)
    unsafe plan.run(compute, pool) { job, first in
        unsafe job.x = unsafe UnsafePointer(x.base + first * x.columns)
        unsafe job.x_stride = x.columns
        unsafe job.y = unsafe y.base + first * y.columns
        unsafe job.y_stride = y.columns
    }
}

/// The same for rows that are read and written where they lie, in f32, bf16 or e4m3; outputs in f32
/// or bf16.
///
/// The bits are those of decoding every row before, and encoding every output after.
public func expertLayer(
    _ x: ScatteredRows, offsets: [Int], experts: [ExpertWeights], into y: ScatteredRows,
    compute: Compute, pool: ThreadPool
) {
    precondition(y.count >= x.count, "\(y.count) rows for \(x.count)")
    precondition(
        y.codec == .float32 || y.codec == .bfloat16, "an expert layer does not write \(y.codec)")
    let plan = ExpertPlan(
        offsets, experts, rows: x.count, inputs: x.columns, outputs: y.columns)
    let inputs = unsafe x.addresses(areWritten: false)
    let outputs = unsafe y.addresses(areWritten: true)
    unsafe inputs.withUnsafeBufferPointer { inputs in
        unsafe outputs.withUnsafeBufferPointer { outputs in
            guard let input = inputs.baseAddress, let output = outputs.baseAddress else { return }
            unsafe plan.run(compute, pool) { job, first in
                unsafe job.inputs = unsafe input + first
                unsafe job.input_format = x.codec.code
                unsafe job.outputs = unsafe output + first
                unsafe job.output_format = y.codec.code
            }
        }
    }
}

/// A dense or shared feed-forward layer: one expert that every row uses.
public func expertLayer(
    _ x: Tensor, _ expert: ExpertWeights, into y: Tensor, compute: Compute, pool: ThreadPool
) {
    expertLayer(
        x, offsets: [0, x.rows], experts: [expert], into: y, compute: compute, pool: pool)
}

/// Which experts of a layer have rows, and which.
private struct ExpertPlan {
    let offsets: [Int]
    let experts: [ExpertWeights]
    /// Experts with rows.
    let used: [Int]

    /// - Parameters:
    ///   - inputs: Columns of a row on its way in.
    ///   - outputs: Columns of a row on its way out.
    init(_ offsets: [Int], _ experts: [ExpertWeights], rows: Int, inputs: Int, outputs: Int) {
        precondition(
            offsets.count == experts.count + 1,
            "\(offsets.count) offsets for \(experts.count) groups")
        precondition(
            offsets.first == 0 && offsets.last! <= rows
                && zip(offsets, offsets.dropFirst()).allSatisfy { $0 <= $1 },
            "offsets \(offsets) do not cut \(rows) rows")
        self.offsets = offsets
        self.experts = experts
        used = experts.indices.filter { offsets[$0] < offsets[$0 + 1] }
        for e in used {
            precondition(
                inputs == experts[e].gate.inputs && outputs == experts[e].down.outputs,
                "expert \(e) maps \(experts[e].gate.inputs) to \(experts[e].down.outputs)")
        }
    }

    /// Runs the experts that have rows.
    ///
    /// - Parameter locate: Says where an expert's rows lie, from the first of them on.
    func run(
        _ compute: Compute, _ pool: ThreadPool,
        _ locate: (_ job: inout ck_expert_job, _ first: Int) -> Void
    ) {
        let matrices = used.flatMap { [experts[$0].gate, experts[$0].up, experts[$0].down] }
        let packed = unsafe matrices.map { unsafe $0.packed }
        unsafe withPackedWeights(packed) { weights in
            let jobs = unsafe used.enumerated().map { index, e in
                let matrix = unsafe weights + 3 * index
                var job = unsafe ck_expert_job()
                unsafe job.gate = matrix
                unsafe job.up = unsafe matrix + 1
                unsafe job.down = unsafe matrix + 2
                if let biases = experts[e].biases {
                    unsafe job.gate_bias = unsafe UnsafePointer(biases.gate.base)
                    unsafe job.up_bias = unsafe UnsafePointer(biases.up.base)
                    unsafe job.down_bias = unsafe UnsafePointer(biases.down.base)
                }
                unsafe job.alpha = experts[e].activation?.alpha ?? 0
                unsafe job.limit = experts[e].activation?.limit ?? 0
                unsafe job.rows = Int32(offsets[e + 1] - offsets[e])
                unsafe locate(&job, offsets[e])
                return unsafe job
            }
            unsafe ck_experts(jobs, Int32(jobs.count), compute.code, pool.handle)
        }
    }
}
