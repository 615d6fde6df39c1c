/// The entries that a block becomes for each rank of this node, by place.
struct EntryFanOut {
    /// Whether this rank writes the entries of a place.
    let isForwarded: [Bool]
    /// The entries, `topK + 1` words each.
    private(set) var words: [[UInt64]]
    private let topK: Int
    /// Per place: the slot whose entry it got last, and where that entry begins.
    private var lastSlot: [Int]
    private var heads: [Int]

    init(isForwarded: [Bool], topK: Int, tokenCount: Int) {
        self.isForwarded = isForwarded
        self.topK = topK
        words = [[UInt64]](repeating: [], count: isForwarded.count)
        for place in words.indices { words[place].reserveCapacity(tokenCount * (topK + 1)) }
        lastSlot = [Int](repeating: -1, count: isForwarded.count)
        heads = [Int](repeating: 0, count: isForwarded.count)
    }

    /// Entries of a place.
    func count(at place: Int) -> Int { words[place].count / (topK + 1) }

    /// Adds a token to the entries of every place that it is for.
    ///
    /// - Parameter entry: Its head and its pairs, checked.
    mutating func add(_ entry: ArraySlice<UInt64>, slot: Int) {
        for pair in entry.dropFirst() {
            let place = Entry.place(pair)
            if !isForwarded[place] { continue }
            if lastSlot[place] != slot {
                lastSlot[place] = slot
                heads[place] = words[place].count
                words[place].append(Entry.head(row: slot, count: 0))
                words[place].append(contentsOf: repeatElement(0, count: topK))
            }
            let head = heads[place]
            let count = Entry.count(words[place][head]) + 1
            words[place][head] = Entry.head(row: slot, count: count)
            words[place][head + count] = pair
        }
    }
}
