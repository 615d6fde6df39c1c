internal import Tensors
internal import Topology
internal import Transport

// What a rank sends: its tokens, encoded in its own window, and entries that say where they lie.
//
// Blocks for other nodes are posted stretch by stretch while the next one is put together, so that
// encoding hides behind the wire.

extension Exchange {
    /// What is encoded before it is posted: little enough to be in cache when it is copied and
    /// sent, and a quarter of a millisecond of 4 Gbit/s.
    private static let stretchBytes = 128 << 10

    /// Encodes the tokens, posts the blocks for other nodes, and writes the entries for this one.
    func sendTokens(
        _ layout: DispatchLayout, _ encode: (Int, inout MutableRawSpan) -> Void
    ) throws {
        if layout.map.remoteCarriers.isEmpty {
            encodeTokens(layout.tokensSent[...], encode)
        } else {
            try encodeAndPost(layout, encode)
        }
        for rank in layout.map.neighbours {
            writeEntries(layout.entries(rank), for: rank, of: windows.rank)
            try signal(.entries, at: rank, count: layout.entryCount(rank))
        }
    }

    /// Encodes tokens where the ranks of this node read them.
    @inline(__always)
    private func encodeTokens(
        _ tokensSent: ArraySlice<Int32>, _ encode: (Int, inout MutableRawSpan) -> Void
    ) {
        let here = windows.own
        for token in tokensSent {
            windows.window.withMutableBytes(here.token(buffer, Int(token))) {
                encode(Int(token), &$0)
            }
        }
    }

    /// Writes the entries of a source into the window of a rank of this node.
    func writeEntries(_ words: ArraySlice<UInt64>, for rank: Rank, of source: Rank) {
        let there = windows.maps[rank]
        let count = words.count * 8 / there.entryBytes
        windows.write(rank, there.entries(buffer, from: source, count: count)) { bytes in
            bytes.setWord(clock.began, at: 0)
            bytes.copy(words.span, to: WindowMap.entriesHeadBytes)
        }
    }

    /// Encodes the tokens and posts the blocks for other nodes.
    private func encodeAndPost(
        _ layout: DispatchLayout, _ encode: (Int, inout MutableRawSpan) -> Void
    ) throws {
        let carriers = layout.map.remoteCarriers
        let stretch = max(1, Self.stretchBytes / windows.own.slotBytes)
        let sent = layout.tokensSent
        var posted = [Int](repeating: 0, count: carriers.count)
        var start = 0
        repeat {
            let end = min(start + stretch, sent.count)
            encodeTokens(sent[start ..< end], encode)
            let bound = end < sent.count ? Int(sent[end]) : Int.max
            for (index, carrier) in carriers.enumerated() {
                posted[index] = try postBlock(
                    to: carrier, layout, from: posted[index], tokensBelow: bound)
            }
            start = end
        } while start < sent.count
    }

    /// Puts a part of a block together and posts it: the head, then each token with its entry
    /// before it. The last part carries the signal.
    ///
    /// - Returns: The first slot that was not posted.
    private func postBlock(
        to carrier: Rank, _ layout: DispatchLayout, from first: Int, tokensBelow bound: Int
    ) throws -> Int {
        let words = layout.block(carrier)
        let head = words.startIndex
        let stride = layout.stride
        let count = layout.slotCount(carrier)
        let here = windows.own
        var end = first
        while end < count, Entry.row(words[head + end * stride]) < bound { end += 1 }
        let isLast = bound == .max
        if end == first, !isLast { return first }

        let block = here.stagedBlock(buffer, to: carrier, count: count).lowerBound
        for slot in first ..< end {
            let entry = words[head + slot * stride ..< head + (slot + 1) * stride]
            stage(entry, at: block + WindowMap.blockHeadBytes + slot * here.slotBytes, here)
        }
        let begin = first == 0 ? 0 : WindowMap.blockHeadBytes + first * here.slotBytes
        if first == 0 {
            let base = UInt64(layout.returnBase[carrier])
            windows.window.withStaging(block ..< block + WindowMap.blockHeadBytes) {
                $0.setWord(base, at: 0)
            }
        }
        let there = windows.maps[carrier]
            .block(buffer, from: windows.rank, count: count).lowerBound
        let stop = WindowMap.blockHeadBytes + end * here.slotBytes
        try windows.window.put(
            block + begin ..< block + stop, to: carrier, at: there + begin,
            signal: isLast ? signalIndex(.block, from: windows.rank) : nil,
            value: isLast ? ArrivalSignal.word(sequence: sequence, count: count) : 0)
        return end
    }

    /// Copies an entry and its token to their slot in staging memory.
    @inline(__always)
    private func stage(_ entry: ArraySlice<UInt64>, at start: Int, _ here: WindowMap) {
        let tokenStart = start + here.entryBytes
        let window = windows.window
        window.withStaging(start ..< tokenStart) { $0.copy(entry.span, to: 0) }
        window.withBytes(here.token(buffer, Entry.row(entry[entry.startIndex]))) { row in
            window.withStaging(tokenStart ..< tokenStart + here.tokenBytes) {
                $0.copy(row, to: 0)
            }
        }
    }
}
