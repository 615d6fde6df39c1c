public import Tensors

/// Remembers what attention keeps of every cached token, in blocks.
///
/// A block holds the entries of `blockTokens` consecutive positions in every layer, so one block
/// table serves the whole model. The cache is storage: its user decides which sequence has which
/// blocks.
public final class BlockCache: Sendable {
    /// How entries are stored.
    public let format: EntryFormat
    /// Positions per block.
    public let blockTokens: Int
    /// Blocks in all.
    public let blockCount: Int
    /// One store per main block, then one per MTP block.
    let stores: [BlockStore]
    /// What a block is made of, in the order in which its parts are handed over: of each layer the
    /// entries, then what attention reads beside them.
    public let parts: [BlockStore]

    /// Positions per block unless said otherwise: small enough to share prefixes finely, large
    /// enough that a block's entries of one layer (64 * 1152 bytes for DeepSeek-V3) stream.
    public static let defaultBlockTokens = 64

    /// Reserves address space for all blocks; the system provides memory as they are written.
    ///
    /// - Parameters:
    ///   - configuration: Of the model; the MTP blocks keep entries too.
    ///   - format: How entries are stored.
    public init(
        configuration: ModelConfiguration, format: EntryFormat, blockCount: Int,
        blockTokens: Int = BlockCache.defaultBlockTokens
    ) {
        self.format = format
        self.blockTokens = blockTokens
        self.blockCount = blockCount
        stores = (0 ..< configuration.layerCount + configuration.mtpLayerCount).map { layer in
            BlockStore(
                format: format, entryBytes: configuration.entryBytes(format: format),
                blockCount: blockCount, blockTokens: blockTokens,
                besideBytes: configuration.besideBytes(layer: layer, format: format))
        }
        parts = stores.flatMap { store in [store] + (store.beside.map { [$0] } ?? []) }
    }

    /// Bytes that one token takes in all layers of a model.
    package static func bytesPerToken(of model: ModelConfiguration, format: EntryFormat) -> Int {
        model.tokenBytes(layers: 0 ..< model.layerCount + model.mtpLayerCount, format: format)
    }

    /// Bytes that one token takes in all layers.
    public var bytesPerToken: Int {
        stores.reduce(0) { $0 + $1.entryBytes + ($1.beside?.entryBytes ?? 0) }
    }

    /// Blocks that a sequence of this many tokens needs.
    package func blocksNeeded(tokens: Int) -> Int { (tokens + blockTokens - 1) / blockTokens }

    /// Copies what a block holds in all layers to another.
    public func copy(_ block: BlockID, to other: BlockID) {
        for store in stores {
            store.copy(block: Int(block.rawValue), to: Int(other.rawValue))
        }
    }

    /// Bytes of a block in all layers.
    public var blockBytes: Int { bytesPerToken * blockTokens }

    /// The entries of a block, part by part.
    public func entries(of block: BlockID) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(blockBytes)
        for part in parts { part.append(block: Int(block.rawValue), to: &bytes) }
        return bytes
    }

    /// Fills a block with the bytes that `entries` gave of one.
    ///
    /// - Parameter bytes: `blockBytes` of them.
    public func fill(_ block: BlockID, with bytes: [UInt8]) {
        precondition(bytes.count == blockBytes, "\(bytes.count) bytes for \(blockBytes)")
        var offset = 0
        for part in parts {
            part.set(block: Int(block.rawValue), from: bytes, at: offset)
            offset += blockTokens * part.entryBytes
        }
    }

    /// A block table of consecutive blocks, for a user with few sequences of known length.
    ///
    /// - Parameters:
    ///   - tokens: Tokens of the sequence.
    ///   - first: The number of its first block.
    public func blocks(tokens: Int, from first: Int = 0) -> [BlockID] {
        let range = first ..< first + blocksNeeded(tokens: tokens)
        precondition(
            range.upperBound <= blockCount, "blocks \(range): the cache has \(blockCount)")
        return range.map { BlockID(rawValue: Int32($0)) }
    }
}
