internal import CKernels

/// The sizes of a layer's attention while it trains: keys and values are expanded, not absorbed,
/// because a training step uses every key with as many queries as there are keys.
public struct CausalAttention: Sendable {
    /// Heads.
    public let heads: Int
    /// Columns of a head's own part of query and key.
    public let nope: Int
    /// Columns of the part that carries the position; one key for all heads.
    public let rope: Int
    /// Columns of a head's value.
    public let value: Int
    /// Factor on the scores.
    public let scale: Float
    /// Tokens of a sequence; a batch is whole sequences one after another.
    public let sequence: Int

    /// States the sizes.
    public init(heads: Int, nope: Int, rope: Int, value: Int, scale: Float, sequence: Int) {
        precondition(
            heads > 0 && nope > 0 && rope > 0 && value > 0 && sequence > 0,
            "attention of \(heads) heads, \(nope)+\(rope) and \(value) columns, \(sequence) tokens")
        self.heads = heads
        self.nope = nope
        self.rope = rope
        self.value = value
        self.scale = scale
        self.sequence = sequence
    }

    /// What forward read and made, which backward needs again.
    public struct Operands {
        /// `[tokens, heads * (nope + rope)]`, rotated.
        public let q: Tensor
        /// `[tokens, heads * (nope + value)]`: each head's key part, then its value.
        public let kv: Tensor
        /// `[tokens, at least latent + rope]`: the shared key is in the last `rope` columns.
        public let shared: Tensor
        /// `[tokens, heads * value]`.
        public let out: Tensor
        /// `[tokens, heads]`: logarithms of the sums of exponentials of the scores.
        public let logSums: Tensor

        /// Groups the tensors of one layer and micro-batch.
        public init(q: Tensor, kv: Tensor, shared: Tensor, out: Tensor, logSums: Tensor) {
            self.q = q
            self.kv = kv
            self.shared = shared
            self.out = out
            self.logSums = logSums
        }
    }

    private func check(_ operands: Operands) {
        precondition(
            operands.q.columns == heads * (nope + rope)
                && operands.kv.columns == heads * (nope + value)
                && operands.shared.columns >= rope && operands.out.columns == heads * value
                && operands.logSums.columns == heads && operands.q.rows % sequence == 0,
            "attention over \(operands.q.rows)x\(operands.q.columns)")
        for tensor in [operands.kv, operands.shared, operands.out, operands.logSums] {
            precondition(
                tensor.rows == operands.q.rows, "\(tensor.rows) of \(operands.q.rows) rows")
        }
    }

    private func job(_ operands: Operands) -> ck_causal_attention {
        check(operands)
        var job = unsafe ck_causal_attention()
        unsafe job.tokens = Int32(operands.q.rows)
        unsafe job.sequence = Int32(sequence)
        unsafe job.heads = Int32(heads)
        unsafe job.nope = Int32(nope)
        unsafe job.rope = Int32(rope)
        unsafe job.value = Int32(value)
        unsafe job.scale = scale
        unsafe job.q = UnsafePointer(operands.q.base)
        unsafe job.kv = UnsafePointer(operands.kv.base)
        unsafe job.k_rope = UnsafePointer(operands.shared.base + operands.shared.columns - rope)
        unsafe job.k_rope_stride = operands.shared.columns
        unsafe job.out = operands.out.base
        unsafe job.lse = operands.logSums.base
        return unsafe job
    }

    /// Fills `out` and `logSums`.
    public func forward(_ operands: Operands, pool: ThreadPool) {
        var job = unsafe job(operands)
        unsafe ck_attention_forward(&job, pool.handle)
    }

    /// Gives the gradients of queries, of keys and values, and per head of the shared key.
    ///
    /// - Parameters:
    ///   - gradient: Of `out`.
    ///   - perHead: `[tokens, heads * rope]`; the shared key's gradient is the sum over heads.
    public func backward(
        _ operands: Operands, gradient: Tensor, q: Tensor, kv: Tensor, perHead: Tensor,
        pool: ThreadPool
    ) {
        precondition(
            gradient.count == operands.out.count && q.count == operands.q.count
                && kv.count == operands.kv.count && perHead.count == operands.q.rows * heads * rope,
            "gradients of attention over \(operands.q.rows) tokens")
        var job = unsafe job(operands)
        unsafe job.d_out = UnsafePointer(gradient.base)
        unsafe job.d_q = q.base
        unsafe job.d_kv = kv.base
        unsafe job.d_k_rope = perHead.base
        unsafe ck_attention_backward(&job, pool.handle)
    }
}
