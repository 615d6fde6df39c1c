internal import CKernels

/// Adds to `dx` the gradient of `rmsNorm`, and to `weightGradient` that of its weight.
///
/// - Parameters:
///   - columns: The part of x (and of dx) that was normalised, as in the forward; all when nil.
///   - dy: Gradient of the output, as wide as `weight`.
public func rmsNormBackward(
    _ x: Tensor, weight: Tensor, epsilon: Float, columns: Range<Int>? = nil, dy: Tensor,
    addingInto dx: Tensor, weightGradient: Tensor?, pool: ThreadPool
) {
    let columns = columns ?? 0 ..< x.columns
    precondition(
        weight.count == columns.count && dy.columns == columns.count && dy.rows == x.rows
            && dx.rows == x.rows && columns.lowerBound >= 0
            && columns.upperBound <= min(x.columns, dx.columns)
            && weightGradient?.count ?? weight.count == weight.count,
        "norm gradient of columns \(columns) of \(x.rows)x\(x.columns)")
    var job = unsafe ck_norm_backward()
    unsafe job.rows = Int32(x.rows)
    unsafe job.columns = Int32(columns.count)
    unsafe job.epsilon = epsilon
    unsafe job.x = UnsafePointer(x.base + columns.lowerBound)
    unsafe job.weight = UnsafePointer(weight.base)
    unsafe job.d_y = UnsafePointer(dy.base)
    unsafe job.d_x = dx.base + columns.lowerBound
    unsafe job.d_weight = weightGradient?.base
    unsafe job.x_stride = x.columns
    unsafe job.d_y_stride = dy.columns
    unsafe job.d_x_stride = dx.columns
    unsafe ck_rms_norm_backward(&job, pool.handle)
}

/// Turns the inputs of `swiglu` into their gradients, in place.
///
/// - Parameters:
///   - dy: Gradient of the output of every row before its weight.
///   - weights: How much each row counts, a gate weight; 1 when nil.
///   - weighted: Receives weight times output, which the next weight gradient needs.
/// - Returns: Per row, the gradient of its weight; empty without weights.
@discardableResult
public func swigluBackward(
    gate: Tensor, up: Tensor, dy: Tensor, weights: [Float]?, weighted: Tensor, pool: ThreadPool
) -> [Float] {
    precondition(
        gate.count == up.count && gate.count == dy.count && gate.count == weighted.count
            && weights?.count ?? gate.rows == gate.rows,
        "swiglu gradient of \(gate.rows)x\(gate.columns)")
    var dots = [Float](repeating: 0, count: weights == nil ? 0 : gate.rows)
    var job = unsafe ck_swiglu_gradient()
    unsafe job.rows = Int32(gate.rows)
    unsafe job.columns = Int32(gate.columns)
    unsafe job.gate = UnsafePointer(gate.base)
    unsafe job.up = UnsafePointer(up.base)
    unsafe job.d_y = UnsafePointer(dy.base)
    unsafe job.d_gate = gate.base
    unsafe job.d_up = up.base
    unsafe job.weighted = weighted.base
    guard let weights, gate.rows > 0 else {
        unsafe ck_swiglu_backward(&job, pool.handle)
        return dots
    }
    unsafe weights.withUnsafeBufferPointer { weights in
        unsafe dots.withUnsafeMutableBufferPointer { dots in
            unsafe job.weights = weights.baseAddress
            unsafe job.dots = dots.baseAddress
            unsafe ck_swiglu_backward(&job, pool.handle)
        }
    }
    return dots
}

/// Turns logits into `scale` times the gradient of their cross-entropy, in place.
///
/// - Parameter targets: One token per row; a negative one has no loss.
/// - Returns: Each row's loss, unscaled.
public func crossEntropy(
    _ logits: Tensor, targets: [Int32], scale: Float, pool: ThreadPool
) -> [Float] {
    precondition(targets.count == logits.rows, "\(targets.count) of \(logits.rows) targets")
    for target in targets {
        precondition(Int(target) < logits.columns, "target \(target) of \(logits.columns)")
    }
    var losses = [Float](repeating: 0, count: targets.count)
    guard !targets.isEmpty else { return losses }
    unsafe losses.withUnsafeMutableBufferPointer { losses in
        unsafe targets.withUnsafeBufferPointer { targets in
            unsafe ck_cross_entropy(
                logits.base, Int32(logits.rows), Int32(logits.columns), targets.baseAddress!,
                scale, losses.baseAddress!, pool.handle)
        }
    }
    return losses
}

/// Sum of squares of all floats, in double and in an order that no thread count changes.
public func sumOfSquares(_ x: Tensor, pool: ThreadPool) -> Double {
    unsafe ck_sum_of_squares(x.base, x.count, pool.handle)
}

/// x *= factor.
public func scale(_ x: Tensor, by factor: Float) {
    for index in 0 ..< x.count { unsafe x.base[index] *= factor }
}
