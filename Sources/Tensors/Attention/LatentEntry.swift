internal import CKernels

/// How the values of a cache entry are stored.
public enum EntryFormat: String, Sendable, CaseIterable {
    case float32, bfloat16
    /// e4m3 with one Float32 scale per 128 values.
    case float8e4m3

    /// The format with this name in options and job files: bf16, fp8 or fp32.
    public init?(name: String) {
        switch name {
        case "bf16": self = .bfloat16
        case "fp8": self = .float8e4m3
        case "fp32": self = .float32
        default: return nil
        }
    }

    var code: Int32 {
        switch self {
        case .float32: Int32(CK_F32.rawValue)
        case .bfloat16: Int32(CK_BF16.rawValue)
        case .float8e4m3: Int32(CK_E4M3.rawValue)
        }
    }
}

/// What latent attention keeps of a token in one layer: `[latent | rope]`, the latent normed and
/// the rope part rotated.
public struct LatentEntry: Sendable {
    /// How its values are stored.
    public let format: EntryFormat
    /// Values of the latent (`kv_lora_rank`).
    public let latent: Int
    /// Values of the shared rotated key (`qk_rope_head_dim`).
    public let rope: Int
    /// Bytes of one entry.
    public let byteCount: Int

    /// An entry of this shape.
    public init(format: EntryFormat, latent: Int, rope: Int) {
        precondition(latent > 0 && rope >= 0, "\(latent) + \(rope) values")
        self.format = format
        self.latent = latent
        self.rope = rope
        byteCount = ck_cache_entry_bytes(format.code, Int32(latent + rope))
    }

    /// Values of one entry.
    public var width: Int { latent + rope }

    /// Stores an entry `[latent + rope]`.
    public func write(_ values: Span<Float>, to store: BlockStore, block: Int, slot: Int) {
        precondition(values.count == width, "\(values.count) values, not \(width)")
        check(store)
        let target = unsafe store.address(block: block, slot: slot)
        unsafe values.withUnsafeBufferPointer {
            unsafe ck_cache_write(format.code, $0.baseAddress!, Int32($0.count), target)
        }
    }

    /// Reads an entry back as attention sees it.
    public func read(from store: BlockStore, block: Int, slot: Int) -> [Float] {
        check(store)
        var values = [Float](repeating: 0, count: width)
        unsafe ck_cache_read(
            format.code, store.address(block: block, slot: slot), Int32(width), &values)
        return values
    }

    /// The store must be made of entries like this one.
    func check(_ store: BlockStore) {
        precondition(
            store.entryBytes == byteCount && store.format == format,
            """
            a store of \(store.entryBytes) bytes per entry (\(store.format)), entries of \
            \(byteCount) (\(format))
            """)
    }
}
