import Models

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
        free = (0 ..< capacity).reversed().map { BlockID(rawValue: Int32($0)) }
        isFree = Array(repeating: true, count: capacity)
    }

    var freeCount: Int { free.count }

    mutating func allocate() -> BlockID? {
        guard let block = free.popLast() else { return nil }
        isFree[Int(block.rawValue)] = false
        return block
    }

    mutating func release(_ block: BlockID) {
        // Invariant 1.
        precondition(!isFree[Int(block.rawValue)], "block \(block.rawValue) is released twice")
        isFree[Int(block.rawValue)] = true
        free.append(block)
    }
}
