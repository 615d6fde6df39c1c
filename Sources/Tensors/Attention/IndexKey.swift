internal import CKernels

/// What the indexer of sparse attention keeps of a token in one layer: one key, normed and rotated.
public struct IndexKey: Sendable {
    /// How its values are stored.
    public let format: EntryFormat
    /// Its values (`index_head_dim`).
    public let width: Int
    /// Bytes of one key.
    public let byteCount: Int

    /// A key of this width.
    public init(format: EntryFormat, width: Int) {
        precondition(width > 0, "\(width) values")
        self.format = format
        self.width = width
        byteCount = ck_cache_entry_bytes(format.code, Int32(width))
    }

    /// Stores a key.
    public func write(_ values: Span<Float>, to store: BlockStore, block: Int, slot: Int) {
        precondition(values.count == width, "\(values.count) values, not \(width)")
        check(store)
        let target = unsafe store.address(block: block, slot: slot)
        unsafe values.withUnsafeBufferPointer {
            unsafe ck_cache_write(format.code, $0.baseAddress!, Int32($0.count), target)
        }
    }

    /// Chooses the entries that tokens see: those of the largest scores, of equal ones the lower
    /// positions.
    ///
    ///     score(t, p) = sum over heads, in sequence, of weight(t) max(0, query(t) . key(p))
    ///
    /// A choice depends on its token and the keys that it sees, to the bit.
    ///
    /// - Parameters:
    ///   - queries: `[tokens, heads * width]`, rotated.
    ///   - weights: `[tokens, heads]`. A factor that all scores share changes no choice.
    ///   - store: Made of keys like this one.
    ///   - count: Entries to choose; tokens that see no more have no choice.
    ///
    /// Source: DeepSeek-V3.2 report, §2.1, equation 1.
    public func choose(
        _ count: Int, _ queries: Tensor, weights: Tensor, batch: AttentionBatch, store: BlockStore,
        compute: Compute, pool: ThreadPool
    ) -> ChosenPositions {
        let heads = weights.columns
        precondition(
            queries.rows >= batch.tokenCount && weights.rows >= batch.tokenCount
                && queries.columns == heads * width,
            """
            \(batch.tokenCount) tokens, \(heads) heads: queries \(queries.rows)x\
            \(queries.columns), weights of \(weights.rows)
            """)
        batch.check(store)
        check(store)
        var chosen = ChosenPositions(tokens: batch.tokenCount, count: count)
        unsafe batch.sequences.withUnsafeBufferPointer { sequences in
            unsafe batch.contexts.withUnsafeBufferPointer { contexts in
                unsafe batch.blocks.withUnsafeBufferPointer { blocks in
                    unsafe batch.firstBlock.withUnsafeBufferPointer { firstBlock in
                        var job = unsafe ck_index_job(
                            queries: UnsafePointer(queries.base), query_stride: queries.columns,
                            weights: UnsafePointer(weights.base), weight_stride: heads,
                            cache: UnsafePointer(store.base), entry_bytes: store.entryBytes,
                            format: format.code, block_tokens: Int32(store.blockTokens),
                            width: Int32(width), heads: Int32(heads),
                            tokens: Int32(batch.tokenCount), wanted: Int32(count),
                            sequences: sequences.baseAddress, contexts: contexts.baseAddress,
                            blocks: blocks.baseAddress, first_block: firstBlock.baseAddress)
                        unsafe ck_choose_positions(
                            &job, compute.code, &chosen.positions, pool.handle)
                    }
                }
            }
        }
        return chosen
    }

    private func check(_ store: BlockStore) {
        precondition(
            store.entryBytes == byteCount && store.format == format,
            """
            a store of \(store.entryBytes) bytes per key (\(store.format)), keys of \
            \(byteCount) (\(format))
            """)
    }
}
