public import Tensors

/// Remembers the latents of every cached token, in blocks.
///
/// A block holds the entries of `blockTokens` consecutive positions in every layer, so one block
/// table serves the whole model. Who shares blocks between sequences, as a server does, counts
/// their holders itself and names blocks without taking them here.
///
/// Invariant: a block is either in the free list or taken, never both.
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
    private var isTaken: [Bool]

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
        isTaken = [Bool](repeating: false, count: blockCount)
    }

    /// Blocks that are not taken.
    public var freeCount: Int { free.count }

    /// Bytes that one token takes in all layers.
    public var bytesPerToken: Int { stores.reduce(0) { $0 + $1.entryBytes } }

    /// Blocks that a sequence of this many tokens needs.
    public func blocksNeeded(tokens: Int) -> Int { (tokens + blockTokens - 1) / blockTokens }

    /// Takes a free block, nil when there is none.
    public func allocate() -> BlockID? {
        guard let block = free.popLast() else { return nil }
        isTaken[Int(block.rawValue)] = true
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

    /// Gives a taken block back.
    public func release(_ block: BlockID) {
        let index = Int(block.rawValue)
        precondition(isTaken[index], "block \(index) is released twice")
        isTaken[index] = false
        free.append(block)
    }
}
