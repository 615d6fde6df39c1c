import Models

/// A block of a text, as files know it.
struct PrefixBlock: Hashable, Sendable {
    /// Blocks of the text before it.
    let index: Int
    let key: PrefixKey
    let tokens: [Int]
}

/// A block of the cache whose entries are complete.
struct FullBlock: Hashable {
    let what: PrefixBlock
    let block: BlockID
}
