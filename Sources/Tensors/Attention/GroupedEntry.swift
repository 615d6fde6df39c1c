internal import CKernels

/// What grouped-query attention keeps of a token in one layer: for each key-value head a part
/// `[key | value]`, the key normed and rotated.
///
/// Each part is stored like an entry of its own, with scales of its own in e4m3.
public struct GroupedEntry: Sendable {
    /// How its values are stored.
    public let format: EntryFormat
    /// Key-value heads (`num_key_value_heads`).
    public let heads: Int
    /// Values of a key, and of a value (`head_dim`); even.
    public let size: Int
    /// Bytes of one part.
    private let partBytes: Int

    /// An entry of this shape.
    public init(format: EntryFormat, heads: Int, size: Int) {
        precondition(
            heads > 0 && size > 0 && size.isMultiple(of: 2), "\(heads) heads of \(size) values")
        self.format = format
        self.heads = heads
        self.size = size
        partBytes = ck_cache_entry_bytes(format.code, Int32(2 * size))
    }

    /// Bytes of one entry.
    public var byteCount: Int { heads * partBytes }

    /// Values of one entry.
    public var width: Int { heads * 2 * size }

    /// Stores an entry `[heads, key | value]`.
    public func write(_ values: Span<Float>, to store: BlockStore, block: Int, slot: Int) {
        precondition(values.count == width, "\(values.count) values, not \(width)")
        check(store)
        let target = unsafe store.address(block: block, slot: slot)
        unsafe values.withUnsafeBufferPointer {
            for head in 0 ..< heads {
                unsafe ck_cache_write(
                    format.code, $0.baseAddress! + head * 2 * size, Int32(2 * size),
                    target + head * partBytes)
            }
        }
    }

    /// Reads an entry back as attention sees it.
    public func read(from store: BlockStore, block: Int, slot: Int) -> [Float] {
        check(store)
        var values = [Float](repeating: 0, count: width)
        let source = unsafe store.address(block: block, slot: slot)
        unsafe values.withUnsafeMutableBufferPointer {
            for head in 0 ..< heads {
                unsafe ck_cache_read(
                    format.code, source + head * partBytes, Int32(2 * size),
                    $0.baseAddress! + head * 2 * size)
            }
        }
        return values
    }

    /// Softmax attention of queries over a cache, for prefill and decode alike.
    ///
    /// The output of a token depends on its query and the entries it sees, to the bit, however the
    /// prompt was cut into chunks.
    ///
    /// - Parameters:
    ///   - queries: `[tokens, queryHeads * size]`.
    ///   - store: Made of entries like this one.
    ///   - queryHeads: A multiple of `heads`; neighbours share a key-value head.
    ///   - scale: Softmax scale.
    ///   - window: How many entries a token sees, its own and those just before it; nil for all.
    ///     Others are not read.
    ///   - sinks: `[queryHeads]`, a score beside those of the entries, which takes its share of the
    ///     weights and adds nothing; nil for none.
    ///   - out: `[tokens, queryHeads * size]`.
    ///
    /// Source: GQA (arXiv 2305.13245), section 2.2; sinks: gpt-oss model card (arXiv 2508.10925),
    /// section 2.
    public func attend(
        _ queries: Tensor, batch: AttentionBatch, store: BlockStore, queryHeads: Int,
        scale: Float, window: Int? = nil, sinks: Tensor? = nil, into out: Tensor,
        compute: Compute, pool: ThreadPool
    ) {
        precondition(
            queryHeads.isMultiple(of: heads), "\(queryHeads) query heads over \(heads) heads")
        check(store)
        EntryParts(
            heads: queryHeads, groupHeads: queryHeads / heads, byteCount: partBytes,
            width: 2 * size, keyWidth: size, value: size ..< 2 * size, window: window, sinks: sinks
        ).attend(
            queries, batch: batch, store: store, scale: scale, into: out, compute: compute,
            pool: pool)
    }

    /// The store must be made of entries like this one.
    private func check(_ store: BlockStore) {
        precondition(
            store.entryBytes == byteCount && store.format == format,
            """
            a store of \(store.entryBytes) bytes per entry (\(store.format)), entries of \
            \(byteCount) (\(format))
            """)
    }
}
