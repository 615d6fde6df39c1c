internal import Tensors
internal import Topology

/// What one dispatch brought to this rank, flat. An entry is a received token; a pair is its
/// meeting with one expert.
struct Arrivals {
    /// Per entry: the rank that sent it, and the row where its bytes lie.
    private var entrySource: [Int32] = []
    private(set) var entryRow: [Int32] = []
    /// Where each entry's pairs begin; one more than entries.
    private var entryPairs: [Int32] = []
    private(set) var pairs: [UInt64] = []
    /// First entry and first pair of each source rank; one more than ranks.
    private var sourceEntries: [Int32] = []
    private var sourcePairs: [Int32] = []

    /// Per pair: its row in the order of `gather`.
    private(set) var positions: [Int32] = []
    /// Where each local expert's rows begin; one more than experts.
    private(set) var expertOffsets: [Int] = []

    /// Rows of all local experts.
    var rowCount: Int { pairs.count }

    /// The rank that sent an entry.
    @inline(__always)
    func source(of entry: Int) -> Rank { Rank(rawValue: Int(entrySource[entry])) }

    /// The pairs of an entry.
    @inline(__always)
    func pairRange(of entry: Int) -> Range<Int> {
        Int(entryPairs[entry]) ..< Int(entryPairs[entry + 1])
    }

    /// The first entry and the first pair of a source, and how many there are.
    func firstEntry(of source: Rank) -> Int { Int(sourceEntries[source.rawValue]) }
    func firstPair(of source: Rank) -> Int { Int(sourcePairs[source.rawValue]) }
    func entryCount(from source: Rank) -> Int {
        Int(sourceEntries[source.rawValue + 1] - sourceEntries[source.rawValue])
    }
    func pairCount(from source: Rank) -> Int {
        Int(sourcePairs[source.rawValue + 1] - sourcePairs[source.rawValue])
    }

    /// The rows of a source's pairs, in the order of `gather`.
    func positions(from source: Rank) -> ArraySlice<Int32> {
        positions[firstPair(of: source) ..< firstPair(of: source) + pairCount(from: source)]
    }

    /// What an entry may say on this rank.
    struct Limits {
        let rows: Int, topK: Int, experts: Int, place: Int
    }

    /// Forgets the dispatch before, and keeps its memory.
    mutating func begin() {
        entrySource.removeAll(keepingCapacity: true)
        entryRow.removeAll(keepingCapacity: true)
        entryPairs.removeAll(keepingCapacity: true)
        pairs.removeAll(keepingCapacity: true)
        sourceEntries.removeAll(keepingCapacity: true)
        sourcePairs.removeAll(keepingCapacity: true)
        entryPairs.append(0)
        sourceEntries.append(0)
        sourcePairs.append(0)
    }

    /// Checks each entry of a source against what this rank holds, and takes it in.
    mutating func take(
        _ bytes: RawSpan, count: Int, entryBytes: Int, from source: Rank, _ limits: Limits
    ) throws(CollectivesError) {
        for entry in 0 ..< count {
            let start = WindowMap.entriesHeadBytes + entry * entryBytes
            let head = bytes.word(at: start)
            let row = Entry.row(head)
            let pairCount = Entry.count(head)
            guard row < limits.rows, pairCount >= 1, pairCount <= limits.topK else {
                throw CollectivesError.malformed(
                    source,
                    "row \(row) of \(limits.rows) with \(pairCount) experts; top-k is "
                        + "\(limits.topK)")
            }
            entrySource.append(Int32(source.rawValue))
            entryRow.append(Int32(row))
            for index in 1 ... pairCount {
                let pair = bytes.word(at: start + 8 * index)
                guard Entry.local(pair) < limits.experts, Entry.place(pair) == limits.place,
                    Entry.choice(pair) < limits.topK
                else { throw Self.malformed(pair, from: source, limits) }
                pairs.append(pair)
            }
            entryPairs.append(Int32(pairs.count))
        }
    }

    private static func malformed(
        _ pair: UInt64, from source: Rank, _ limits: Limits
    ) -> CollectivesError {
        .malformed(
            source,
            "local expert \(Entry.local(pair)) of \(limits.experts), place \(Entry.place(pair)), "
                + "choice \(Entry.choice(pair)) of \(limits.topK)")
    }

    /// Ends the entries of a source, which may have none.
    mutating func endSource() {
        sourceEntries.append(Int32(entryRow.count))
        sourcePairs.append(Int32(pairs.count))
    }

    /// Sorts the pairs by local expert, keeping their order otherwise.
    mutating func arrange(experts: Int) {
        var next = [Int](repeating: 0, count: experts)
        for pair in pairs { next[Entry.local(pair)] += 1 }
        expertOffsets.removeAll(keepingCapacity: true)
        expertOffsets.append(0)
        for expert in 0 ..< experts {
            let count = next[expert]
            next[expert] = expertOffsets[expert]
            expertOffsets.append(expertOffsets[expert] + count)
        }
        positions.removeAll(keepingCapacity: true)
        for pair in pairs {
            let expert = Entry.local(pair)
            positions.append(Int32(next[expert]))
            next[expert] += 1
        }
    }
}
