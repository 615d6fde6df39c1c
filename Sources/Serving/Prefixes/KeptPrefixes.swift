import Encoding
import Models
import Tensors

/// An engine's side of a prefix store: entries go between its cache and the files.
///
/// It belongs to the engine's thread; `store` works on its own.
final class KeptPrefixes {
    let store: PrefixStore
    /// What computes the entries.
    let origin: Digest
    private let cache: BlockCache

    init(_ store: PrefixStore, origin: Digest, cache: BlockCache) {
        self.store = store
        self.origin = origin
        self.cache = cache
    }

    /// Keeps a block whose entries are complete.
    func keep(_ full: FullBlock) {
        store.keep(full.what, byteCount: cache.blockBytes) { cache.entries(of: full.block) }
    }

    /// Fills a block with entries that were kept.
    func fill(_ block: BlockID, with entries: [UInt8]) { cache.fill(block, with: entries) }
}

extension ServingRankConfiguration {
    /// The prefixes that outlive the process, as these settings have it.
    ///
    /// - Throws: What is wrong with their folder or with the model's.
    func keptPrefixes(of cache: BlockCache, compute: Compute) throws -> KeptPrefixes? {
        guard let prefixes, engine.usesPrefixCache else { return nil }
        let origin = try PrefixOrigin.digest(
            directory: directory, compute: compute, format: cache.format,
            blockTokens: cache.blockTokens)
        let folder = try PrefixFolder(
            path: prefixes.folder, byteLimit: prefixes.byteLimit, origin: origin)
        return KeptPrefixes(
            PrefixStore(folder, entryBytes: cache.blockBytes, warn: warn), origin: origin,
            cache: cache)
    }
}
