internal import Tensors
internal import Topology
internal import Transport

// What a carrier does for other nodes: it forwards the blocks that arrived for its node, and sends
// home the rows that its node has for their sources.

extension Exchange {
    /// Says to every rank of this node which tokens of a block are for it.
    func forwardBlock(of source: Rank, _ deadline: Deadline) throws {
        relay.isDone[source] = true
        let count = try arrival(.block, from: source, atMost: windows.own.tokenLimit, deadline)
        relay.blockCounts[source] = count
        let layout = layout
        var lists = EntryFanOut(
            isForwarded: layout.map.members.map { forwards(to: $0, from: source) },
            topK: layout.routing.topK, tokenCount: count)
        try readBlock(of: source, count: count) { slot, words in
            try checkPairs(words, of: source, layout)
            lists.add(words, slot: slot)
        }
        for (place, rank) in layout.map.members.enumerated() where lists.isForwarded[place] {
            writeEntries(lists.words[place][...], for: rank, of: source)
            relay.forwardedCounts[rank] += lists.count(at: place)
            try signal(.entries, at: rank, for: source, count: lists.count(at: place))
        }
    }

    /// Whether this rank says to a rank of its node which tokens of a source elsewhere it gets.
    private func forwards(to rank: Rank, from source: Rank) -> Bool {
        let map = layout.map
        return !map.isMasked[rank] && map.carrier(from: source, to: rank) == map.rank
    }

    /// Refuses pairs that name a rank, an expert or a choice that does not exist here (3).
    private func checkPairs(
        _ words: ArraySlice<UInt64>, of source: Rank, _ layout: DispatchLayout
    ) throws(CollectivesError) {
        let members = layout.map.members
        for pair in words.dropFirst() {
            let place = Entry.place(pair)
            guard place < members.count else {
                throw .malformed(source, "place \(place) of a node of \(members.count) ranks")
            }
            let count = layout.expertCount(on: members[place])
            guard Entry.local(pair) < count, Entry.choice(pair) < layout.routing.topK else {
                throw .malformed(
                    source,
                    "local expert \(Entry.local(pair)) of \(count), "
                        + "choice \(Entry.choice(pair)) of \(layout.routing.topK)")
            }
        }
    }

    /// Calls `body` with the slot, and with the head and the pairs before each token, of a block.
    private func readBlock(
        of source: Rank, count: Int, _ body: (Int, ArraySlice<UInt64>) throws -> Void
    ) throws {
        let here = windows.own
        let topK = layout.routing.topK
        var words = [UInt64](repeating: 0, count: topK + 1)
        try windows.window.withBytes(here.block(buffer, from: source, count: count)) { block in
            for slot in 0 ..< count {
                let start = WindowMap.blockHeadBytes + slot * here.slotBytes
                for word in 0 ... topK { words[word] = block.word(at: start + 8 * word) }
                let pairs = Entry.count(words[0])
                guard (1 ... topK).contains(pairs) else {
                    throw CollectivesError.malformed(
                        source, "a token with \(pairs) experts; top-k is \(topK)")
                }
                try body(slot, words[...pairs])
            }
        }
    }

    /// Puts together the rows of this node for a source elsewhere, and posts them.
    func sendHome(to source: Rank) throws {
        relay.isDone[source] = true
        let base = windows.window.withBytes(windows.own.block(buffer, from: source, count: 0)) {
            Int(truncatingIfNeeded: $0.word(at: 0))
        }
        let rowCount =
            windows.configuration.addsBeforeReturn
            ? try sendSums(to: source, base: base) : try sendRows(to: source, base: base)
        relay.returnedBytes[source] = rowCount * windows.own.outputStride
    }

    /// Adds the rows of each token over the ranks of this node, in the order of its choices, and
    /// posts the sums.
    ///
    /// - Returns: How many there were.
    private func sendSums(to source: Rank, base: Int) throws -> Int {
        let here = windows.own
        let count = relay.blockCounts[source]
        let codec = windows.configuration.combineCodec
        let members = layout.map.members
        let sum = makeSum()
        var poster = ReturnPoster(rowCount: count, rowBytes: here.outputStride)
        var nextRow = [Int](repeating: 0, count: members.count)
        var lastSlot = [Int](repeating: -1, count: members.count)
        var terms: [RowTerm] = []
        try withRows(of: layout.map.neighbours[...], for: source, in: sum) { areas in
            try readBlock(of: source, count: count) { slot, words in
                terms.removeAll(keepingCapacity: true)
                for pair in words.dropFirst() {
                    let place = Entry.place(pair)
                    let area = areas[members[place]]
                    if area < 0 || lastSlot[place] == slot { continue }
                    lastSlot[place] = slot
                    let offset = nextRow[place] * here.outputStride
                    terms.append(RowTerm(area: area, offset: offset, weight: 1))
                    nextRow[place] += 1
                }
                let target = here.stagedReturn(buffer, to: source, poster.staged)
                windows.window.withStaging(target) { sum.write(terms, into: &$0, as: codec) }
                if let rows = poster.stage() { try postRows(rows, to: source, base: base) }
            }
        }
        try postRows(poster.rest(), to: source, base: base)
        return poster.staged
    }

    /// Posts the rows of each token one by one, in the order of its choices.
    ///
    /// - Returns: How many there were.
    private func sendRows(to source: Rank, base: Int) throws -> Int {
        let here = windows.own
        let count = relay.blockCounts[source]
        let members = layout.map.members
        var poster = ReturnPoster(rowCount: count, rowBytes: here.outputStride)
        var nextRow = [Int](repeating: 0, count: members.count)
        try readBlock(of: source, count: count) { _, words in
            for pair in words.dropFirst() {
                let place = Entry.place(pair)
                let target = here.stagedReturn(buffer, to: source, poster.staged)
                let output = windows.maps[members[place]]
                    .output(buffer, to: source, nextRow[place])
                windows.read(members[place], output) { row in
                    windows.window.withStaging(target) { $0.copy(row, to: 0) }
                }
                nextRow[place] += 1
                if let rows = poster.stage() { try postRows(rows, to: source, base: base) }
            }
        }
        try postRows(poster.rest(), to: source, base: base)
        return poster.staged
    }

    /// Posts staged rows; where they signal, with the count of all so far (3).
    private func postRows(_ rows: ReturnPoster.Rows, to source: Rank, base: Int) throws {
        let here = windows.own
        let end = rows.range.upperBound
        let limit = windows.configuration.maximumTokensPerRank * layout.routing.topK
        guard base >= 0, base <= limit - end else {
            throw CollectivesError.malformed(
                source, "\(end) rows from \(base) of \(limit) to return to")
        }
        let first = here.stagedReturn(buffer, to: source, rows.range.lowerBound).lowerBound
        let there = windows.maps[source].returned(buffer)[base + rows.range.lowerBound]
        try windows.window.put(
            first ..< first + rows.range.count * here.outputStride, to: source,
            at: there.lowerBound,
            signal: rows.signals ? signalIndex(.returned, from: windows.rank) : nil,
            value: rows.signals ? ArrivalSignal.word(sequence: sequence, count: end) : 0)
    }
}
