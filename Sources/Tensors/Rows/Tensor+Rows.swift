internal import CKernels

/// y = x / sqrt(mean(x²) + epsilon) * weight, row by row, over a range of columns.
///
/// - Parameters:
///   - columns: The part of a row to normalise, as the latent of `kv_a_proj` needs; all when nil.
///     y receives it at the same columns, and may be x.
public func rmsNorm(
    _ x: Tensor, weight: Tensor, epsilon: Float, columns: Range<Int>? = nil, into y: Tensor,
    pool: ThreadPool
) {
    let columns = columns ?? 0 ..< x.columns
    precondition(
        weight.count == columns.count && columns.upperBound <= min(x.columns, y.columns)
            && columns.lowerBound >= 0 && y.rows >= x.rows,
        "norm of columns \(columns) with \(weight.count) weights")
    pool.split(x.rows) { rows in
        for row in rows {
            unsafe ck_rms_norm(
                x.base + row * x.columns + columns.lowerBound, weight.base, epsilon,
                y.base + row * y.columns + columns.lowerBound, Int32(columns.count))
        }
    }
}

/// Norms every slice of a row by itself, in place, all with the same weight.
///
/// - Parameter weight: `[width of a slice]`.
public func rmsNorm(
    _ x: Tensor, slices: RotarySlices, weight: Tensor, epsilon: Float, pool: ThreadPool
) {
    precondition(
        slices.first >= 0 && slices.stride >= 0
            && slices.first + (slices.count - 1) * slices.stride + weight.count <= x.columns,
        "\(slices.count) slices of \(weight.count) in rows of \(x.columns)")
    pool.split(x.rows) { rows in
        for row in rows {
            for slice in 0 ..< slices.count {
                let values = unsafe x.base + row * x.columns + slices.first + slice * slices.stride
                unsafe ck_rms_norm(values, weight.base, epsilon, values, Int32(weight.count))
            }
        }
    }
}

/// x = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias, row by row, in place.
public func layerNorm(
    _ x: Tensor, weight: Tensor, bias: Tensor, epsilon: Float, pool: ThreadPool
) {
    precondition(
        weight.count == x.columns && bias.count == x.columns,
        "norm of \(x.columns) columns with \(weight.count) weights, \(bias.count) biases")
    pool.split(x.rows) { rows in
        for row in rows {
            let values = unsafe x.base + row * x.columns
            unsafe ck_layer_norm(
                values, weight.base, bias.base, epsilon, values, Int32(x.columns))
        }
    }
}

/// Adds one row to every row of x.
///
/// - Parameter bias: `[columns]`.
public func add(bias: Tensor, into x: Tensor, pool: ThreadPool) {
    precondition(bias.count == x.columns, "\(bias.count) values for rows of \(x.columns)")
    pool.split(x.rows) { rows in
        for row in rows { unsafe ck_add(bias.base, x.base + row * x.columns, x.columns) }
    }
}

/// y = silu(gate) * up, element by element.
///
/// y may be gate or up.
public func swiglu(_ gate: Tensor, _ up: Tensor, into y: Tensor, pool: ThreadPool) {
    checkSameShape(gate, up)
    checkSameShape(gate, y)
    pool.split(y.count) { part in
        unsafe ck_swiglu(
            gate.base + part.lowerBound, up.base + part.lowerBound, y.base + part.lowerBound,
            part.count)
    }
}

/// Softmax of every row, in place.
public func softmax(_ x: Tensor, pool: ThreadPool) {
    pool.split(x.rows) { rows in
        for row in rows { unsafe ck_softmax(x.base + row * x.columns, Int32(x.columns)) }
    }
}

/// Logarithm of the softmax of every row, in place.
public func logSoftmax(_ x: Tensor, pool: ThreadPool) {
    pool.split(x.rows) { rows in
        for row in rows { unsafe ck_log_softmax(x.base + row * x.columns, Int32(x.columns)) }
    }
}

/// y += x.
public func add(_ x: Tensor, into y: Tensor, pool: ThreadPool) {
    checkSameShape(x, y)
    pool.split(y.count) { part in
        unsafe ck_add(x.base + part.lowerBound, y.base + part.lowerBound, part.count)
    }
}

/// y[i] = x[rows[i]].
public func gatherRows(_ x: Tensor, rows: [Int], into y: Tensor, pool: ThreadPool) {
    precondition(
        x.columns == y.columns && rows.count <= y.rows, "\(rows.count) rows into \(y.rows)")
    for row in rows { precondition(row >= 0 && row < x.rows, "row \(row) of \(x.rows)") }
    pool.split(rows.count) { part in
        for i in part {
            unsafe (y.base + i * y.columns).update(
                from: x.base + rows[i] * x.columns, count: x.columns)
        }
    }
}

/// y[i] += the sum over j of weights[i * terms + j] * x[rows[i * terms + j]], in the order of j.
///
/// - Parameters:
///   - rows: As many for every row of y.
///   - weights: One per entry of `rows`; 1 when nil.
public func sumRows(
    _ x: Tensor, rows: [Int], weights: [Float]?, into y: Tensor, pool: ThreadPool
) {
    let terms = y.rows == 0 ? 0 : rows.count / y.rows
    precondition(
        x.columns == y.columns && rows.count == terms * y.rows
            && weights?.count ?? rows.count == rows.count,
        "\(rows.count) rows, \(weights?.count ?? 0) weights, into \(y.rows)")
    for row in rows { precondition(row >= 0 && row < x.rows, "row \(row) of \(x.rows)") }
    pool.split(y.rows) { part in
        for place in part.lowerBound * terms ..< part.upperBound * terms {
            unsafe ck_f32_accumulate(
                x.base + rows[place] * x.columns, weights?[place] ?? 1,
                y.base + place / terms * y.columns, x.columns)
        }
    }
}

/// Copies columns `range` of every row of x into y, from column `column` on.
public func copyColumns(
    _ range: Range<Int>, of x: Tensor, into y: Tensor, at column: Int = 0, pool: ThreadPool
) {
    precondition(
        x.rows == y.rows && range.lowerBound >= 0 && range.upperBound <= x.columns && column >= 0
            && column + range.count <= y.columns,
        "columns \(range) of \(x.rows)x\(x.columns) at \(column) of \(y.rows)x\(y.columns)")
    pool.split(x.rows) { rows in
        for row in rows {
            unsafe (y.base + row * y.columns + column).update(
                from: x.base + row * x.columns + range.lowerBound, count: range.count)
        }
    }
}

/// y[rows[i]] += weights[i] * x[i], in the order of i, so that the sum's bits never change.
public func scatterAddRows(_ x: Tensor, rows: [Int], weights: [Float], into y: Tensor) {
    precondition(
        x.columns == y.columns && rows.count <= x.rows && weights.count == rows.count,
        "\(rows.count) rows, \(weights.count) weights, \(x.rows) given")
    for (i, row) in rows.enumerated() {
        precondition(row >= 0 && row < y.rows, "row \(row) of \(y.rows)")
        unsafe ck_f32_accumulate(
            x.base + i * x.columns, weights[i], y.base + row * y.columns, x.columns)
    }
}

private func checkSameShape(_ a: Tensor, _ b: Tensor) {
    precondition(
        a.rows == b.rows && a.columns == b.columns,
        "\(a.rows)x\(a.columns) against \(b.rows)x\(b.columns)")
}
