internal import CKernels

/// The products of a layer's forward and backward, on tensors that change every step.
public enum MatrixProduct: Sendable, CaseIterable {
    /// `y[m, n] = x[m, k] · w[n, k]ᵀ`: the forward.
    case timesTransposed
    /// `dx[m, k] = dy[m, n] · w[n, k]`: the gradient of the input.
    case times
    /// `dw[n, k] = dy[m, n]ᵀ · x[m, k]`: the gradient of the weight.
    case transposedTimes
}

/// One of several products that share a fork and join.
public struct ProductPart {
    let a: Tensor
    let b: Tensor
    let c: Tensor

    /// Names the factors and where the product goes.
    public init(_ a: Tensor, _ b: Tensor, into c: Tensor) {
        self.a = a
        self.b = b
        self.c = c
    }
}

/// c = a · b in one of three arrangements, or c += a · b.
///
/// - Parameters:
///   - accumulate: Adds to c instead of overwriting it, as gradients over micro-batches need.
public func matmul(
    _ product: MatrixProduct, _ a: Tensor, _ b: Tensor, into c: Tensor,
    accumulate: Bool = false, compute: Compute = .float32, pool: ThreadPool
) {
    matmul(
        product, [ProductPart(a, b, into: c)], accumulate: accumulate, compute: compute, pool: pool)
}

/// All of several products at once, as many small experts need.
///
/// - Parameters:
///   - parts: No two write the same c. Neighbours with the same `a` share its preparation.
///   - accumulate: Adds to every c instead of overwriting it.
public func matmul(
    _ product: MatrixProduct, _ parts: [ProductPart], accumulate: Bool = false,
    compute: Compute = .float32, pool: ThreadPool
) {
    let jobs = unsafe parts.map { unsafe job(product, $0, accumulate) }
    unsafe jobs.withUnsafeBufferPointer { jobs in
        unsafe ck_matmuls(jobs.baseAddress, Int32(jobs.count), compute.code, pool.handle)
    }
}

private func job(
    _ product: MatrixProduct, _ part: ProductPart, _ accumulate: Bool
) -> ck_matmul_job {
    let (a, b, c) = (part.a, part.b, part.c)
    let transposesA = product == .transposedTimes
    let transposesB = product == .timesTransposed
    let m = transposesA ? a.columns : a.rows
    let k = transposesA ? a.rows : a.columns
    let n = transposesB ? b.rows : b.columns
    precondition(
        k == (transposesB ? b.columns : b.rows) && c.rows == m && c.columns == n,
        """
        \(product): \(a.rows)x\(a.columns) and \(b.rows)x\(b.columns) \
        do not give \(c.rows)x\(c.columns)
        """)
    return unsafe ck_matmul_job(
        a: UnsafePointer(a.base), a_row: transposesA ? 1 : a.columns,
        a_column: transposesA ? a.columns : 1,
        b: UnsafePointer(b.base), b_row: transposesB ? b.columns : 1,
        b_column: transposesB ? 1 : b.columns,
        c: c.base, c_row: c.columns, m: Int32(m), n: Int32(n), k: Int32(k),
        accumulate: accumulate ? 1 : 0)
}
