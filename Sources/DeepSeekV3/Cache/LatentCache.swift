public import Tensors

/// Remembers the latents of every cached token, in blocks that sequences own or share.
///
/// A block holds the entries of `blockTokens` consecutive positions in every layer, so one block
/// table serves the whole model. Blocks are counted: a prefix that two sequences share is freed
/// by the second.
///
/// Invariants:
/// 1. A block is either in the free list or has a positive count, never both.
/// 2. Only a block with a count of 1 may be written; the caller copies a shared one first.
public final class LatentCache {
    /// How entries are stored.
    public let format: LatentStore.Format
    /// Positions per block.
    public let blockTokens: Int
    /// Blocks in all.
    public let blockCount: Int
    /// One store per main block, then one per MTP block.
    let stores: [LatentStore]
    private var free: [BlockID]
    private var counts: [Int32]

    /// Positions per block unless said otherwise: small enough to share prefixes finely, large
    /// enough that a block's entries of one layer (64 * 1152 bytes for DeepSeek-V3) stream.
    public static let defaultBlockTokens = 64

    /// Reserves address space for all blocks; the system provides memory as they are written.
    ///
    /// - Parameters:
    ///   - layers: The main blocks whose latents are kept here (a pipeline stage keeps its own).
    ///     The MTP blocks are always kept.
    public init(
        configuration: ModelConfiguration, format: LatentStore.Format, blockCount: Int,
        blockTokens: Int = LatentCache.defaultBlockTokens
    ) {
        self.format = format
        self.blockTokens = blockTokens
        self.blockCount = blockCount
        stores = (0 ..< configuration.layerCount + configuration.mtpLayerCount).map { _ in
            LatentStore(
                format: format, blockCount: blockCount, blockTokens: blockTokens,
                latent: configuration.latentSize, rope: configuration.ropeHeadSize)
        }
        free = (0 ..< Int32(blockCount)).reversed().map(BlockID.init)
        counts = [Int32](repeating: 0, count: blockCount)
    }

    /// Blocks that nobody holds.
    public var freeCount: Int { free.count }

    /// Bytes that one token takes in all layers.
    public var bytesPerToken: Int { stores.reduce(0) { $0 + $1.entryBytes } }

    /// Blocks that a sequence of this many tokens needs.
    public func blocksNeeded(tokens: Int) -> Int { (tokens + blockTokens - 1) / blockTokens }

    /// Takes a free block, nil when there is none.
    public func allocate() -> BlockID? {
        guard let block = free.popLast() else { return nil }
        counts[Int(block.rawValue)] = 1
        return block
    }

    /// Grows a block table until it holds `tokens`; leaves it unchanged when blocks are short.
    ///
    /// - Returns: Whether the table now suffices.
    public func extend(_ table: inout [BlockID], tokens: Int) -> Bool {
        let missing = blocksNeeded(tokens: tokens) - table.count
        guard missing <= free.count else { return false }
        for _ in 0 ..< max(0, missing) {
            if let block = allocate() { table.append(block) }
        }
        return true
    }

    /// Adds a holder to a block.
    public func retain(_ block: BlockID) {
        precondition(counts[Int(block.rawValue)] > 0, "block \(block.rawValue) is free")
        counts[Int(block.rawValue)] += 1
    }

    /// Removes a holder; the last one frees the block.
    public func release(_ block: BlockID) {
        let index = Int(block.rawValue)
        precondition(counts[index] > 0, "block \(index) is released twice")
        counts[index] -= 1
        if counts[index] == 0 { free.append(block) }
    }

    /// How many hold a block.
    public func holders(of block: BlockID) -> Int { Int(counts[Int(block.rawValue)]) }

    /// Copies the first entries of a block in every layer, so that a sequence can continue a
    /// prefix it shares.
    public func copy(from source: BlockID, to target: BlockID, tokens: Int) {
        for store in stores {
            store.copyBlock(
                from: Int(source.rawValue), to: Int(target.rawValue), tokens: tokens)
        }
    }
}
