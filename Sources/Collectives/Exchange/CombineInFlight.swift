public import Tensors

/// Outputs on their way back.
public struct CombineInFlight: ~Copyable {
    let exchange: Exchange

    /// Returns when all outputs are home, and adds them to `rows`.
    ///
    /// - Parameter rows: `[tokens, hidden]` of the dispatch; a residual or bias may be in it.
    public consuming func wait(addingInto rows: Tensor) throws {
        try exchange.finish(addingInto: rows)
    }

    /// Returns when all outputs are home, and writes their sums to `rows`, whatever those held;
    /// zeros for a token that went nowhere.
    ///
    /// Each sum is added up in f32 and rounded once. Of bf16 rows half as many bytes are written as
    /// of f32, and none are read.
    ///
    /// - Parameter rows: `[tokens, hidden]` of the dispatch, in f32 or bf16.
    public consuming func wait(into rows: EncodedRows) throws {
        try exchange.finish(into: rows)
    }

    /// As `wait(addingInto:)`, and returns the scalars that came with the rows.
    ///
    /// - Returns: `[tokens, topK]`, 0 where a choice names no expert.
    public consuming func waitWithScalars(addingInto rows: Tensor) throws -> [Float] {
        try exchange.finish(addingInto: rows)
        return exchange.homeScalars
    }
}
