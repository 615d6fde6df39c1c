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
        let here = own
        let members = map.ranksOfNode[map.nodes[map.rank]]
        let stretch = max(1, Self.stretchBytes / here.outputStride)
        var nextRow = [Int](repeating: 0, count: members.count)
        var base = 0
        window.withBytes(here.block(buffer, from: source, count: 0)) {
            base = Int(truncatingIfNeeded: $0.word(at: 0))
        }
        var staged = 0
        var posted = 0
        let sum = Tensor(rows: 1, columns: hidden)
        try readBlock(from: source, count: blockCounts[source]) { _, words in
            if adds {
                try addMembers(words, of: source, members, &nextRow, into: sum)
                window.withStaging(here.stagedReturn(buffer, to: source, staged)) {
                    codec.encode(sum.row(0), into: &$0)
                }
                staged += 1
            } else {
                for pair in words.dropFirst() {
                    let place = Entry.place(pair)
                    let target = here.stagedReturn(buffer, to: source, staged)
                    withOutput(of: members[place], for: source, nextRow[place]) { row in
                        window.withStaging(target) { $0.copy(row, to: 0) }
                    }
                    nextRow[place] += 1
                    staged += 1
                }
            }
            guard staged - posted >= stretch else { return }
            try postRows(posted ..< staged, to: source, base: base, isLast: false)
            posted = staged
        }
        try postRows(posted ..< staged, to: source, base: base, isLast: true)
        returnedBytes[source] = staged * here.outputStride
    }

    /// Posts staged rows; the last carry the signal and the count of all.
    private func postRows(_ rows: Range<Int>, to source: Int, base: Int, isLast: Bool) throws {
        let here = own
        let there = group.maps[source]
        let limit = group.configuration.maximumTokensPerRank * group.configuration.topK
        guard base >= 0, base <= limit - rows.upperBound else {
            throw CollectivesError.malformed(
                Rank(rawValue: source),
                "\(rows.upperBound) rows from \(base) of \(limit) to return to")
        }
        let first = here.stagedReturn(buffer, to: source, rows.lowerBound).lowerBound
        try window.put(
            first ..< first + rows.count * here.outputStride, to: Rank(rawValue: source),
            at: there.returned(buffer, base + rows.lowerBound).lowerBound,
            signal: isLast
                ? Arrival.index(
                    .returned, buffer: buffer, from: map.rank, rankCount: map.rankCount)
                : nil,
            value: isLast ? Arrival.word(sequence: sequence, count: rows.upperBound) : 0)
    }

    /// Adds the rows of a token over the ranks of this node, in the order of the token's choices.
    private func addMembers(
        _ words: ArraySlice<UInt64>, of source: Int, _ members: [Int], _ nextRow: inout [Int],
        into sum: Tensor
    ) throws {
        sum.fill(0)
        var added: [Int] = []
        for pair in words.dropFirst() {
            let place = Entry.place(pair)
            if added.contains(place) || map.masked[members[place]] { continue }
            added.append(place)
            withOutput(of: members[place], for: source, nextRow[place]) { bytes in
                var row = sum.mutableRow(0)
                codec.accumulate(bytes, weight: 1, into: &row)
            }
            nextRow[place] += 1
        }
    }
}
