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

    /// Copies the first entries of a block to memory from which they travel to another rank.
    ///
    /// What is beside them is a store of its own.
    ///
    /// - Parameter offset: Where they begin in `bytes`.
    public func copyEntries(
        _ count: Int, ofBlock block: Int, into bytes: inout MutableRawSpan, at offset: Int
    ) {
        check(count, bytes.byteCount, offset)
        unsafe bytes.withUnsafeMutableBytes {
            unsafe ($0.baseAddress! + offset).copyMemory(
                from: address(block: block, slot: 0), byteCount: count * entryBytes)
        }
    }

    /// Sets the first entries of a block to what another rank computed.
    ///
    /// - Parameter offset: Where they begin in `bytes`.
    public func setEntries(
        _ count: Int, ofBlock block: Int, from bytes: RawSpan, at offset: Int
    ) {
        check(count, bytes.byteCount, offset)
        unsafe bytes.withUnsafeBytes {
            unsafe UnsafeMutableRawPointer(address(block: block, slot: 0)).copyMemory(
                from: $0.baseAddress! + offset, byteCount: count * entryBytes)
        }
    }

    /// Appends the entries of a block.
    public func append(block: Int, to bytes: inout [UInt8]) {
        unsafe bytes.append(
            contentsOf: UnsafeBufferPointer(
                start: address(block: block, slot: 0), count: blockTokens * entryBytes))
    }

    /// Sets the entries of a block to bytes that `append` gave.
    ///
    /// - Parameter offset: Where they begin in `bytes`.
    public func set(block: Int, from bytes: [UInt8], at offset: Int) {
        check(blockTokens, bytes.count, offset)
        unsafe bytes.withUnsafeBytes {
            unsafe UnsafeMutableRawPointer(address(block: block, slot: 0)).copyMemory(
                from: $0.baseAddress! + offset, byteCount: blockTokens * entryBytes)
        }
    }

    private func check(_ count: Int, _ byteCount: Int, _ offset: Int) {
        precondition(
            count > 0 && count <= blockTokens && offset >= 0
                && offset + count * entryBytes <= byteCount,
            "\(count) entries of \(entryBytes) bytes, \(blockTokens) in a block, at \(offset) of"
                + " \(byteCount) bytes")
    }

    /// Where an entry lies.
    func address(block: Int, slot: Int) -> UnsafeMutablePointer<UInt8> {
        precondition(
            (0 ..< blockCount).contains(block) && (0 ..< blockTokens).contains(slot),
            "block \(block) of \(blockCount), slot \(slot) of \(blockTokens)")
        return unsafe base + (block * blockTokens + slot) * entryBytes
    }
}
