internal import CKernels

/// One layer's latent cache: blocks of entries `[latent | rope]`, the memory that attention reads.
///
/// Which sequence owns which block is the caller's business.
@safe public final class LatentStore: @unchecked Sendable {
    // Safe because: the memory lives as long as self, and writers are ordered with readers by
    // the step that calls both.
    public enum Format: String, Sendable, CaseIterable {
        case float32, bfloat16
        /// e4m3 with one Float32 scale per 128 values.
        case float8e4m3

        var code: Int32 {
            switch self {
            case .float32: Int32(CK_F32.rawValue)
            case .bfloat16: Int32(CK_BF16.rawValue)
            case .float8e4m3: Int32(CK_E4M3.rawValue)
            }
        }

        /// Bytes of one token's entry in one layer.
        public func entryBytes(latent: Int, rope: Int) -> Int {
            ck_cache_entry_bytes(code, Int32(latent + rope))
        }
    }

    public let format: Format
    public let blockCount: Int
    /// Entries per block.
    public let blockTokens: Int
    /// `kv_lora_rank`.
    public let latent: Int
    /// `qk_rope_head_dim`.
    public let rope: Int
    public let entryBytes: Int
    let base: UnsafeMutablePointer<UInt8>

    public init(format: Format, blockCount: Int, blockTokens: Int, latent: Int, rope: Int) {
        precondition(
            blockCount > 0 && blockTokens > 0 && latent > 0 && rope >= 0,
            "\(blockCount) blocks of \(blockTokens) tokens, \(latent)+\(rope) values each")
        self.format = format
        self.blockCount = blockCount
        self.blockTokens = blockTokens
        self.latent = latent
        self.rope = rope
        entryBytes = format.entryBytes(latent: latent, rope: rope)
        unsafe base = ck_allocate(blockCount * blockTokens * entryBytes)
            .assumingMemoryBound(to: UInt8.self)
    }

    deinit { unsafe ck_free(base, byteCount) }

    public var byteCount: Int { blockCount * blockTokens * entryBytes }

    /// Stores an entry `[latent + rope]`, the latent normed and the rope part rotated.
    public func write(_ entry: Span<Float>, block: Int, slot: Int) {
        precondition(entry.count == latent + rope, "\(entry.count) values, not \(latent + rope)")
        let target = unsafe address(block, slot)
        unsafe entry.withUnsafeBufferPointer {
            unsafe ck_cache_write(format.code, $0.baseAddress!, Int32($0.count), target)
        }
    }

    /// Reads an entry back as attention sees it.
    public func read(block: Int, slot: Int) -> [Float] {
        var entry = [Float](repeating: 0, count: latent + rope)
        unsafe ck_cache_read(format.code, address(block, slot), Int32(latent + rope), &entry)
        return entry
    }

    private func address(_ block: Int, _ slot: Int) -> UnsafeMutablePointer<UInt8> {
        precondition(
            (0 ..< blockCount).contains(block) && (0 ..< blockTokens).contains(slot),
            "block \(block) of \(blockCount), slot \(slot) of \(blockTokens)")
        return unsafe base + (block * blockTokens + slot) * entryBytes
    }
}

/// Which entries each token of a batch attends to.
///
/// Prefill chunks and decode tokens mix freely.
public struct AttentionBatch: Sendable {
    /// Block ids of every sequence, one after the other.
    public private(set) var blocks: [Int32] = []
    /// Where each sequence's blocks begin in `blocks`.
    public private(set) var firstBlock: [Int32] = []
    /// The sequence of each token.
    public private(set) var sequences: [Int32] = []
    /// How many entries each token sees, its own included.
    public private(set) var contexts: [Int32] = []

    public init() {}

    /// Appends a sequence whose next `tokens` rows of the queries continue it after `position`
    /// entries: token i sees `position + i + 1` of them.
    public mutating func append(blocks ids: [Int32], position: Int, tokens: Int) {
        let sequence = Int32(firstBlock.count)
        firstBlock.append(Int32(blocks.count))
        blocks += ids
        for i in 0 ..< tokens {
            sequences.append(sequence)
            contexts.append(Int32(position + i + 1))
        }
    }

    public var tokenCount: Int { contexts.count }

    /// The same sequences, seen by some of the tokens only: a tile of the queries.
    public func rows(_ range: Range<Int>) -> AttentionBatch {
        if range == 0 ..< tokenCount { return self }
        var part = self
        part.sequences = Array(sequences[range])
        part.contexts = Array(contexts[range])
        return part
    }

    func check(_ store: LatentStore) {
        for block in blocks {
            precondition(block >= 0 && block < store.blockCount, "block \(block)")
        }
        for (sequence, context) in zip(sequences, contexts) {
            let first = Int(firstBlock[Int(sequence)])
            let next = Int(sequence) + 1
            let end = next < firstBlock.count ? Int(firstBlock[next]) : blocks.count
            precondition(
                Int(context) <= (end - first) * store.blockTokens,
                "\(context) entries in \(end - first) blocks of \(store.blockTokens)")
        }
    }
}

/// Softmax attention of absorbed queries over a latent cache, for prefill and decode alike.
///
/// The output of a token depends on its query and the entries it sees, to the bit, however the
/// prompt was cut into chunks.
///
/// - Parameters:
///   - queries: `[tokens, heads * (latent + rope)]`; each head's latent part is `W_UKᵀ q_nope`.
///   - out: `[tokens, heads * latent]`; multiply by `W_UV` per head next.
///   - scale: Softmax scale, YaRN's factor in it.
///
/// Source: DeepSeek-V2 report, §2.1.2 and appendix C (absorption).
public func latentAttention(
    _ queries: Tensor, batch: AttentionBatch, store: LatentStore, heads: Int, scale: Float,
    into out: Tensor, compute: Compute, pool: ThreadPool
) {
    precondition(
        queries.rows >= batch.tokenCount && out.rows >= batch.tokenCount
            && queries.columns == heads * (store.latent + store.rope)
            && out.columns == heads * store.latent,
        """
        \(batch.tokenCount) tokens, \(heads) heads: queries \(queries.rows)x\(queries.columns), \
        out \(out.rows)x\(out.columns)
        """)
    batch.check(store)
    unsafe batch.sequences.withUnsafeBufferPointer { sequences in
        unsafe batch.contexts.withUnsafeBufferPointer { contexts in
            unsafe batch.blocks.withUnsafeBufferPointer { blocks in
                unsafe batch.firstBlock.withUnsafeBufferPointer { firstBlock in
                    var job = unsafe ck_attention_job(
                        queries: UnsafePointer(queries.base), query_stride: queries.columns,
                        out: out.base, out_stride: out.columns, cache: UnsafePointer(store.base),
                        entry_bytes: store.entryBytes, format: store.format.code,
                        block_tokens: Int32(store.blockTokens), latent: Int32(store.latent),
                        rope: Int32(store.rope), heads: Int32(heads),
                        tokens: Int32(batch.tokenCount), sequences: sequences.baseAddress,
                        contexts: contexts.baseAddress, blocks: blocks.baseAddress,
                        first_block: firstBlock.baseAddress, scale: scale)
                    unsafe ck_attention(&job, compute.code, pool.handle)
                }
            }
        }
    }
}
