import Tensors

extension Tensor {
    /// `[rows, 2 * hidden]`: the embedding and the hidden state that an MTP block continues from,
    /// side by side.
    static func joined(_ embedding: Tensor, _ hidden: Tensor, pool: ThreadPool) -> Tensor {
        let columns = embedding.columns
        let joined = Tensor(unfilledRows: embedding.rows, columns: 2 * columns)
        copyColumns(0 ..< columns, of: embedding, into: joined, pool: pool)
        copyColumns(0 ..< columns, of: hidden, into: joined, at: columns, pool: pool)
        return joined
    }
}
