/// Names one block of the latent cache.
public struct BlockID: RawRepresentable, Hashable, Comparable, Sendable {
    /// The block's index in the cache.
    public let rawValue: Int

    /// Names the block with this index.
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Orders blocks by index.
    public static func < (a: BlockID, b: BlockID) -> Bool { a.rawValue < b.rawValue }
}

/// Hands out the blocks of a latent cache of fixed size.
///
/// Invariant 1: a block is free or owned by exactly one holder (a sequence or the prefix cache).
struct BlockAllocator {
    /// All blocks, free or not.
    let capacity: Int

    private var free: [BlockID]
    private var isFree: [Bool]

    init(capacity: Int) {
        precondition(capacity >= 0, "a cache cannot have \(capacity) blocks")
        self.capacity = capacity
        free = (0 ..< capacity).reversed().map { BlockID(rawValue: $0) }
        isFree = Array(repeating: true, count: capacity)
    }

    var freeCount: Int { free.count }

    mutating func allocate() -> BlockID? {
        guard let block = free.popLast() else { return nil }
        isFree[block.rawValue] = false
        return block
    }

    mutating func release(_ block: BlockID) {
        precondition(!isFree[block.rawValue], "block \(block.rawValue) is released twice")  // 1
        isFree[block.rawValue] = true
        free.append(block)
    }
}
