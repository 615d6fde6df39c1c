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
    let outputs: Range<Int>
    let y: Tensor
    let yColumn: Int
    let rows: Range<Int>

    /// - Parameters:
    ///   - column: Where in a row of `x` the weight's inputs begin.
    ///   - outputs: The outputs that are computed, cut at multiples of `Weight.panelOutputs`; all
    ///     when nil.
    ///   - yColumn: Where in a row of `y` these outputs begin.
    ///   - rows: The rows of x and y that take part; all when nil.
    public init(
        _ x: Tensor, column: Int = 0, _ weight: Weight, outputs: Range<Int>? = nil,
        into y: Tensor, column yColumn: Int = 0, rows: Range<Int>? = nil
    ) {
        let outputs = outputs ?? 0 ..< weight.outputs
        let rows = rows ?? 0 ..< x.rows
        precondition(
            rows.lowerBound >= 0 && rows.upperBound <= x.rows && rows.upperBound <= y.rows,
            "rows \(rows) of \(x.rows) in, \(y.rows) out")
        precondition(
            column >= 0 && column + weight.inputs <= x.columns,
            "\(weight.inputs) inputs at column \(column) of \(x.columns)")
        precondition(
            yColumn >= 0 && yColumn + outputs.count <= y.columns,
            "\(outputs.count) outputs at column \(yColumn) of \(y.columns)")
        precondition(
            outputs.lowerBound % Weight.panelOutputs == 0
                && (outputs.upperBound % Weight.panelOutputs == 0
                    || outputs.upperBound == weight.outputs)
                && outputs.upperBound <= weight.outputs,
            "outputs \(outputs) of \(weight.outputs) cut a panel of \(Weight.panelOutputs)")
        self.x = x
        xColumn = column
        self.weight = weight
        self.outputs = outputs
        self.y = y
        self.yColumn = yColumn
        self.rows = rows
    }
}

/// Several independent products in one fork and join: projections of the same input, the heads of
/// an attention layer, the experts of a layer.
public func linear(_ parts: [LinearPart], compute: Compute, pool: ThreadPool) {
    let cuts = unsafe parts.map { unsafe $0.weight.packed($0.outputs) }
    unsafe withPackedWeights(cuts) { weights in
        let jobs = unsafe parts.indices.map { i in
            let part = parts[i]
            return unsafe ck_linear_job(
                weight: weights + i,
                x: UnsafePointer(
                    part.x.base + part.rows.lowerBound * part.x.columns + part.xColumn),
                x_stride: part.x.columns,
                y: part.y.base + part.rows.lowerBound * part.y.columns + part.yColumn,
                y_stride: part.y.columns, rows: Int32(part.rows.count), outputs: nil,
                output_format: 0, bias: nil)
        }
        unsafe ck_linear(jobs, Int32(jobs.count), compute.code, pool.handle)
    }
}

/// Gives packed weights to `body`, side by side as the kernels take them.
func withPackedWeights(_ packed: [ck_weight], _ body: (UnsafePointer<ck_weight>) -> Void) {
    unsafe packed.withUnsafeBufferPointer { buffer in
        if let base = buffer.baseAddress { unsafe body(base) }
    }
}
