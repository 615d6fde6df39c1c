/// Which entries each token of a batch attends to.
///
/// Prefill chunks and decode tokens mix freely.
public struct AttentionBatch: Sendable {
    /// Block ids of every sequence, one after the other.
    public private(set) var blocks: [Int32] = []
    /// Where each sequence's blocks begin in `blocks`.
    package private(set) var firstBlock: [Int32] = []
    /// The sequence of each token.
    public private(set) var sequences: [Int32] = []
    /// How many entries each token sees, its own included.
    public private(set) var contexts: [Int32] = []
    /// Which of them a token sees that would see more than a choice has; nil where all see all.
    public var chosen: ChosenPositions?

    public init() {}

    /// Appends a sequence whose next `tokens` rows of the queries continue it after `position`
    /// entries: token i sees `position + i + 1` of them.
    public mutating func append(blocks ids: [Int32], position: Int, tokens: Int) {
        let sequence = Int32(firstBlock.count)
        firstBlock.append(Int32(blocks.count))
        blocks += ids
        for i in 0 ..< tokens {
            sequences.append(sequence)
            contexts.append(Int32(position + i + 1))
        }
    }

    public var tokenCount: Int { contexts.count }

    /// The same sequences, seen by some of the tokens only: a tile of the queries.
    public func rows(_ range: Range<Int>) -> AttentionBatch {
        if range == 0 ..< tokenCount { return self }
        var part = self
        part.sequences = Array(sequences[range])
        part.contexts = Array(contexts[range])
        part.chosen = chosen?.rows(range)
        return part
    }

    func check(_ store: BlockStore) {
        for block in blocks {
            precondition(block >= 0 && block < store.blockCount, "block \(block)")
        }
        for (sequence, context) in zip(sequences, contexts) {
            let first = Int(firstBlock[Int(sequence)])
            let next = Int(sequence) + 1
            let end = next < firstBlock.count ? Int(firstBlock[next]) : blocks.count
            precondition(
                Int(context) <= (end - first) * store.blockTokens,
                "\(context) entries in \(end - first) blocks of \(store.blockTokens)")
        }
        chosen?.check(contexts)
    }
}
