internal import CKernels

/// One layer's cache: blocks of entries of one size, the memory that attention reads.
///
/// What an entry holds is the attention's business, which sequence owns which block the caller's.
@safe public final class BlockStore: @unchecked Sendable {
    // Safe because: the memory lives as long as self, and writers are ordered with readers by
    // the step that calls both.

    /// How the values of an entry are stored.
    public let format: EntryFormat
    /// Bytes of one token's entry.
    public let entryBytes: Int
    /// Blocks in all.
    public let blockCount: Int
    /// Entries per block.
    public let blockTokens: Int
    let base: UnsafeMutablePointer<UInt8>

    /// Reserves address space for all blocks; the system provides memory as they are written.
    public init(format: EntryFormat, entryBytes: Int, blockCount: Int, blockTokens: Int) {
        precondition(
            blockCount > 0 && blockTokens > 0 && entryBytes > 0,
            "\(blockCount) blocks of \(blockTokens) tokens, \(entryBytes) bytes each")
        self.format = format
        self.entryBytes = entryBytes
        self.blockCount = blockCount
        self.blockTokens = blockTokens
        unsafe base = ck_allocate(blockCount * blockTokens * entryBytes)
            .assumingMemoryBound(to: UInt8.self)
    }

    deinit { unsafe ck_free(base, byteCount) }

    /// Bytes of all blocks.
    public var byteCount: Int { blockCount * blockTokens * entryBytes }

    /// Where an entry lies.
    func address(block: Int, slot: Int) -> UnsafeMutablePointer<UInt8> {
        precondition(
            (0 ..< blockCount).contains(block) && (0 ..< blockTokens).contains(slot),
            "block \(block) of \(blockCount), slot \(slot) of \(blockTokens)")
        return unsafe base + (block * blockTokens + slot) * entryBytes
    }
}
