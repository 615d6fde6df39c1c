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
        check(store)
        EntryParts(
            heads: heads, groupHeads: heads, byteCount: byteCount, width: width, keyWidth: width,
            value: 0 ..< latent
        ).attend(
            queries, batch: batch, store: store, scale: scale, into: out, compute: compute,
            pool: pool)
    }
}
