internal import CKernels

/// How query heads find their keys and values in an entry of a cache.
///
/// An entry has one part for every `groupHeads` heads. A part begins with its key.
struct EntryParts {
    /// Query heads.
    let heads: Int
    /// Query heads that read one part.
    let groupHeads: Int
    /// Bytes of a part.
    let byteCount: Int
    /// Values of a part.
    let width: Int
    /// Values of a key, and of a query.
    let keyWidth: Int
    /// The values of a part that are summed.
    let value: Range<Int>
    /// The last entries that a token sees; nil for all.
    var window: Int?
    /// Of each query head, a score that takes weight and has no value; nil for none.
    var sinks: Tensor?

    /// Softmax attention of `queries`, `[tokens, heads * keyWidth]`, into
    /// `[tokens, heads * value]`.
    func attend(
        _ queries: Tensor, batch: AttentionBatch, store: BlockStore, scale: Float,
        into out: Tensor, compute: Compute, pool: ThreadPool
    ) {
        precondition(
            queries.rows >= batch.tokenCount && out.rows >= batch.tokenCount
                && queries.columns == heads * keyWidth && out.columns == heads * value.count,
            """
            \(batch.tokenCount) tokens, \(heads) heads: queries \(queries.rows)x\
            \(queries.columns), out \(out.rows)x\(out.columns)
            """)
        precondition(
            sinks.map { $0.count == heads } ?? true && (window == nil || batch.chosen == nil),
            "\(sinks?.count ?? 0) sinks of \(heads) heads, window \(window ?? 0)")
        batch.check(store)
        let chosen = batch.chosen?.positions ?? []
        unsafe batch.sequences.withUnsafeBufferPointer { sequences in
            unsafe batch.contexts.withUnsafeBufferPointer { contexts in
                unsafe batch.blocks.withUnsafeBufferPointer { blocks in
                    unsafe batch.firstBlock.withUnsafeBufferPointer { firstBlock in
                        unsafe chosen.withUnsafeBufferPointer { chosen in
                            var job = unsafe ck_attention_job(
                                queries: UnsafePointer(queries.base), query_stride: queries.columns,
                                out: out.base, out_stride: out.columns,
                                cache: UnsafePointer(store.base),
                                entry_bytes: store.entryBytes, group_bytes: byteCount,
                                format: store.format.code, block_tokens: Int32(store.blockTokens),
                                heads: Int32(heads), group_heads: Int32(groupHeads),
                                tokens: Int32(batch.tokenCount), part_width: Int32(width),
                                key_width: Int32(keyWidth), value_first: Int32(value.lowerBound),
                                value_width: Int32(value.count), sequences: sequences.baseAddress,
                                contexts: contexts.baseAddress, blocks: blocks.baseAddress,
                                first_block: firstBlock.baseAddress, scale: scale,
                                chosen: batch.chosen == nil ? nil : chosen.baseAddress,
                                chosen_count: Int32(batch.chosen?.count ?? 0),
                                window: Int32(window ?? 0),
                                sinks: sinks.map { unsafe UnsafePointer($0.base) })
                            unsafe ck_attention(&job, compute.code, pool.handle)
                        }
                    }
                }
            }
        }
    }
}
