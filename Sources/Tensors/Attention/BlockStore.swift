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
    /// What attention reads apart from the entries, in blocks of the same numbers; nil where it
    /// reads nothing else.
    public let beside: BlockStore?
    let base: UnsafeMutablePointer<UInt8>

    /// Reserves address space for all blocks; the system provides memory as they are written.
    ///
    /// - Parameter besideBytes: Bytes of a token in a store beside this one; 0 for none.
    public init(
        format: EntryFormat, entryBytes: Int, blockCount: Int, blockTokens: Int,
        besideBytes: Int = 0
    ) {
        precondition(
            blockCount > 0 && blockTokens > 0 && entryBytes > 0,
            "\(blockCount) blocks of \(blockTokens) tokens, \(entryBytes) bytes each")
        self.format = format
        self.entryBytes = entryBytes
        self.blockCount = blockCount
        self.blockTokens = blockTokens
        beside =
            besideBytes == 0
            ? nil
            : BlockStore(
                format: format, entryBytes: besideBytes, blockCount: blockCount,
                blockTokens: blockTokens)
        unsafe base = ck_allocate(blockCount * blockTokens * entryBytes)
            .assumingMemoryBound(to: UInt8.self)
    }

    deinit { unsafe ck_free(base, byteCount) }

    /// Bytes of all blocks.
    public var byteCount: Int { blockCount * blockTokens * entryBytes }

    /// Copies the entries of a block to another, and what is beside them.
    public func copy(block: Int, to other: Int) {
        unsafe address(block: other, slot: 0).update(
            from: address(block: block, slot: 0), count: blockTokens * entryBytes)
        beside?.copy(block: block, to: other)
    }

    /// Bytes of a block with what is beside it.
    public var blockBytes: Int { blockTokens * entryBytes + (beside?.blockBytes ?? 0) }

    /// Appends the entries of a block, and what is beside them.
    public func append(block: Int, to bytes: inout [UInt8]) {
        unsafe bytes.append(
            contentsOf: UnsafeBufferPointer(
                start: address(block: block, slot: 0), count: blockTokens * entryBytes))
        beside?.append(block: block, to: &bytes)
    }

    /// Fills a block, and what is beside it, with bytes that `append` gave.
    ///
    /// - Parameter bytes: `blockBytes` of them.
    public func fill(block: Int, with bytes: ArraySlice<UInt8>) {
        precondition(
            bytes.count == blockBytes, "\(bytes.count) bytes for a block of \(blockBytes)")
        let own = bytes.prefix(blockTokens * entryBytes)
        unsafe own.withUnsafeBufferPointer {
            unsafe address(block: block, slot: 0).update(from: $0.baseAddress!, count: own.count)
        }
        beside?.fill(block: block, with: bytes.dropFirst(own.count))
    }

    /// Where an entry lies.
    func address(block: Int, slot: Int) -> UnsafeMutablePointer<UInt8> {
        precondition(
            (0 ..< blockCount).contains(block) && (0 ..< blockTokens).contains(slot),
            "block \(block) of \(blockCount), slot \(slot) of \(blockTokens)")
        return unsafe base + (block * blockTokens + slot) * entryBytes
    }
}
