internal import Tensors
internal import Topology
internal import Transport

// What crosses between nodes: blocks of tokens out, and their rows home.
//
// Both are posted stretch by stretch while the next one is put together, so that encoding and
// adding hide behind the wire: without that, 4 Gbit/s idles for a third of a dispatch
// (apus bench all-to-all --lab topology/two-nodes-4g.yaml).

extension Operation {
    /// What is encoded before it is posted: little enough to be in cache when it is copied and
    /// sent, and a quarter of a millisecond of 4 Gbit/s.
    private static let stretchBytes = 128 << 10

    /// Encodes the tokens and posts the blocks for other nodes.
    func encodeAndSend(
        _ layout: DispatchLayout, to carriers: [Int],
        _ encode: (Int, inout MutableRawSpan) -> Void
    ) throws {
        let stretch = max(1, Self.stretchBytes / own.slotBytes)
        let sent = layout.tokensSent
        var posted = [Int](repeating: 0, count: carriers.count)
        var start = 0
        repeat {
            let end = min(start + stretch, sent.count)
            encodeHere(sent[start ..< end], encode)
            let bound = end < sent.count ? Int(sent[end]) : Int.max
            for (index, carrier) in carriers.enumerated() {
                posted[index] = try sendBlock(
                    to: carrier, layout, from: posted[index], tokensBelow: bound)
            }
            start = end
        } while start < sent.count
    }

    /// Puts a part of a block together and posts it: the head, then each token with its entry
    /// before it. The last part carries the signal.
    ///
    /// - Returns: The first slot that was not posted.
    private func sendBlock(
        to carrier: Int, _ layout: DispatchLayout, from first: Int, tokensBelow bound: Int
    ) throws -> Int {
        let words = layout.block(carrier)
        let head = words.startIndex
        let stride = layout.stride
        let count = layout.slotCount(carrier)
        let here = own
        var end = first
        while end < count, Entry.row(words[head + end * stride]) < bound { end += 1 }
        let isLast = bound == .max
        if end == first, !isLast { return first }

        let block = here.stagedBlock(buffer, to: carrier, count: count).lowerBound
        for slot in first ..< end {
            let start = block + WindowMap.blockHeadBytes + slot * here.slotBytes
            let tokenStart = start + here.entryBytes
            window.withStaging(start ..< tokenStart) { entry in
                for word in 0 ..< stride {
                    entry.setWord(words[head + slot * stride + word], at: 8 * word)
                }
            }
            window.withBytes(here.token(buffer, Entry.row(words[head + slot * stride]))) { row in
                window.withStaging(tokenStart ..< tokenStart + here.tokenBytes) {
                    $0.copy(row, to: 0)
                }
            }
        }
        let begin = first == 0 ? 0 : WindowMap.blockHeadBytes + first * here.slotBytes
        if first == 0 {
            let base = UInt64(layout.returnBase[carrier])
            window.withStaging(block ..< block + WindowMap.blockHeadBytes) {
                $0.setWord(base, at: 0)
            }
        }
        let there = group.maps[carrier].block(buffer, from: map.rank, count: count).lowerBound
        let bytes = begin ..< WindowMap.blockHeadBytes + end * here.slotBytes
        try window.put(
            block + bytes.lowerBound ..< block + bytes.upperBound, to: Rank(rawValue: carrier),
            at: there + begin,
            signal: isLast
                ? Arrival.index(.block, buffer: buffer, from: map.rank, rankCount: map.rankCount)
                : nil,
            value: isLast ? Arrival.word(sequence: sequence, count: count) : 0)
        return end
    }

    /// Puts together the rows of this node for a source elsewhere, and posts them.
    func sendHome(to source: Int) throws {
        isRelayed[source] = true
        let base = window.withBytes(own.block(buffer, from: source, count: 0)) {
            Int(truncatingIfNeeded: $0.word(at: 0))
        }
        let rowCount: Int
        if adds {
            let members = map.ranksOfNode[map.nodes[map.rank]]
            let sum = RowSum(codec, columns: hidden, capacity: group.configuration.topK)
            var areas = [Int](repeating: -1, count: members.count)
            rowCount = try lend(members[...], of: source, to: sum, &areas) { areas in
                try sendSums(to: source, base: base, sum, areas)
            }
        } else {
            rowCount = try sendRows(to: source, base: base)
        }
        returnedBytes[source] = rowCount * own.outputStride
    }

    /// Lends the rows that the ranks of this node have for a source elsewhere.
    ///
    /// - Parameter areas: By place in this node; stays -1 for a masked rank.
    private func lend(
        _ members: ArraySlice<Int>, of source: Int, to sum: RowSum, _ areas: inout [Int],
        _ body: ([Int]) throws -> Int
    ) throws -> Int {
        guard let next = members.first else { return try body(areas) }
        let rest = members.dropFirst()
        if map.masked[next] { return try lend(rest, of: source, to: sum, &areas, body) }
        return try withNeighbour(next, group.maps[next].outputs(buffer, to: source).all) { bytes in
            try sum.lend(bytes) { area in
                areas[members.startIndex] = area
                return try lend(rest, of: source, to: sum, &areas, body)
            }
        }
    }

    /// Adds the rows of each token over the ranks of this node, in the order of its choices, and
    /// posts the sums.
    ///
    /// - Returns: How many there were.
    private func sendSums(
        to source: Int, base: Int, _ sum: RowSum, _ areas: [Int]
    ) throws -> Int {
        let here = own
        let codec = codec
        var poster = ReturnPoster(rowCount: blockCounts[source], rowBytes: here.outputStride)
        var nextRow = [Int](repeating: 0, count: areas.count)
        var lastSlot = [Int](repeating: -1, count: areas.count)
        var terms: [RowTerm] = []
        try readBlock(from: source, count: blockCounts[source]) { slot, words in
            terms.removeAll(keepingCapacity: true)
            for pair in words.dropFirst() {
                let place = Entry.place(pair)
                if areas[place] < 0 || lastSlot[place] == slot { continue }
                lastSlot[place] = slot
                let offset = nextRow[place] * here.outputStride
                terms.append(RowTerm(area: areas[place], offset: offset, weight: 1))
                nextRow[place] += 1
            }
            window.withStaging(here.stagedReturn(buffer, to: source, poster.staged)) {
                sum.write(terms, into: &$0, as: codec)
            }
            if let rows = poster.stage() { try postRows(rows, to: source, base: base) }
        }
        try postRows(poster.rest(), to: source, base: base)
        return poster.staged
    }

    /// Posts the rows of each token one by one, in the order of its choices.
    ///
    /// - Returns: How many there were.
    private func sendRows(to source: Int, base: Int) throws -> Int {
        let here = own
        let members = map.ranksOfNode[map.nodes[map.rank]]
        var poster = ReturnPoster(rowCount: blockCounts[source], rowBytes: here.outputStride)
        var nextRow = [Int](repeating: 0, count: members.count)
        try readBlock(from: source, count: blockCounts[source]) { _, words in
            for pair in words.dropFirst() {
                let place = Entry.place(pair)
                let target = here.stagedReturn(buffer, to: source, poster.staged)
                withOutput(of: members[place], for: source, nextRow[place]) { row in
                    window.withStaging(target) { $0.copy(row, to: 0) }
                }
                nextRow[place] += 1
                if let rows = poster.stage() { try postRows(rows, to: source, base: base) }
            }
        }
        try postRows(poster.rest(), to: source, base: base)
        return poster.staged
    }

    /// Posts staged rows; where they tell, with the count of all so far.
    private func postRows(_ rows: ReturnPoster.Rows, to source: Int, base: Int) throws {
        let here = own
        let there = group.maps[source]
        let end = rows.range.upperBound
        let limit = group.configuration.maximumTokensPerRank * group.configuration.topK
        guard base >= 0, base <= limit - end else {
            throw CollectivesError.malformed(
                Rank(rawValue: source), "\(end) rows from \(base) of \(limit) to return to")
        }
        let first = here.stagedReturn(buffer, to: source, rows.range.lowerBound).lowerBound
        try window.put(
            first ..< first + rows.range.count * here.outputStride, to: Rank(rawValue: source),
            at: there.returned(buffer)[base + rows.range.lowerBound].lowerBound,
            signal: rows.tells
                ? Arrival.index(
                    .returned, buffer: buffer, from: map.rank, rankCount: map.rankCount)
                : nil,
            value: rows.tells ? Arrival.word(sequence: sequence, count: end) : 0)
    }
}

/// When staged rows are posted, and when a post tells how far they have come: the source then adds
/// them while the others travel.
private struct ReturnPoster {
    /// What is put together before it is posted, as in a dispatch.
    private static let postBytes = 128 << 10
    /// Each may wake the source, and what comes with the last is added when the wire is idle again:
    /// of 4096 tokens a sixty-fourth is some 100 us of either.
    private static let signalCount = 64

    /// Rows to post.
    struct Rows {
        var range: Range<Int>
        var tells: Bool
    }

    private let rowsPerPost: Int
    private let rowsPerSignal: Int
    private var posted = 0
    private var told = 0
    private(set) var staged = 0

    /// - Parameter rowCount: About how many rows there will be.
    init(rowCount: Int, rowBytes: Int) {
        rowsPerPost = max(1, Self.postBytes / rowBytes)
        rowsPerSignal = max(rowsPerPost, rowCount / Self.signalCount)
    }

    /// Takes note of one more staged row; returns the rows that should be posted now, if any.
    mutating func stage() -> Rows? {
        staged += 1
        guard staged - posted >= rowsPerPost else { return nil }
        let tells = staged - told >= rowsPerSignal
        defer {
            posted = staged
            if tells { told = staged }
        }
        return Rows(range: posted ..< staged, tells: tells)
    }

    /// The last rows, which tell how many all are.
    func rest() -> Rows { Rows(range: posted ..< staged, tells: true) }
}
