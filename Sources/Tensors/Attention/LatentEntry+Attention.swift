internal import CKernels

extension LatentEntry {
    /// Softmax attention of absorbed queries over a latent cache, for prefill and decode alike.
    ///
    /// The output of a token depends on its query and the entries it sees, to the bit, however the
    /// prompt was cut into chunks. A token with a choice (`batch.chosen`) sees the chosen entries
    /// alone, those of another see all.
    ///
    /// - Parameters:
    ///   - queries: `[tokens, heads * (latent + rope)]`; each head's latent part is `W_UKᵀ q_nope`.
    ///   - store: Made of entries like this one.
    ///   - out: `[tokens, heads * latent]`; multiply by `W_UV` per head next.
    ///   - scale: Softmax scale, YaRN's factor in it.
    ///
    /// Source: DeepSeek-V2 report, §2.1.2 and appendix C (absorption).
    public func attend(
        _ queries: Tensor, batch: AttentionBatch, store: BlockStore, heads: Int, scale: Float,
        into out: Tensor, compute: Compute, pool: ThreadPool
    ) {
        precondition(
            queries.rows >= batch.tokenCount && out.rows >= batch.tokenCount
                && queries.columns == heads * width && out.columns == heads * latent,
            """
            \(batch.tokenCount) tokens, \(heads) heads: queries \(queries.rows)x\
            \(queries.columns), out \(out.rows)x\(out.columns)
            """)
        batch.check(store)
        check(store)
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
                                entry_bytes: store.entryBytes, format: format.code,
                                block_tokens: Int32(store.blockTokens), latent: Int32(latent),
                                rope: Int32(rope), heads: Int32(heads),
                                tokens: Int32(batch.tokenCount), sequences: sequences.baseAddress,
                                contexts: contexts.baseAddress, blocks: blocks.baseAddress,
                                first_block: firstBlock.baseAddress, scale: scale,
                                chosen: batch.chosen == nil ? nil : chosen.baseAddress,
                                chosen_count: Int32(batch.chosen?.count ?? 0))
                            unsafe ck_attention(&job, compute.code, pool.handle)
                        }
                    }
                }
            }
        }
    }
}
