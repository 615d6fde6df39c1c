internal import Tensors
internal import Topology
internal import Transport

extension Operation {
    func beginEntries() {
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

    /// Waits for the entries of a source and checks each against what this rank holds.
    func takeEntries(from source: Int, _ deadline: Deadline) throws {
        let here = own
        let count = try arrival(.entries, from: source, atMost: here.tokenCeiling, deadline)
        let rowLimit = here.tokenCeiling
        let topK = group.configuration.topK
        let place = map.placeInNode[map.rank]
        let experts = group.placement.expertsByRank[map.rank].count
        try window.withBytes(here.entries(buffer, from: source, count: count)) { bytes in
            if map.share(source, map.rank) { lastBegin = max(lastBegin, bytes.word(at: 0)) }
            for entry in 0 ..< count {
                let start = WindowMap.entriesHeadBytes + entry * here.entryBytes
                let head = bytes.word(at: start)
                let row = Entry.row(head)
                let pairCount = Entry.count(head)
                guard row < rowLimit, (1 ... topK).contains(pairCount) else {
                    throw CollectivesError.malformed(
                        Rank(rawValue: source),
                        "row \(row) of \(rowLimit) with \(pairCount) experts; top-k is \(topK)")
                }
                entrySource.append(Int32(source))
                entryRow.append(Int32(row))
                for index in 1 ... pairCount {
                    let pair = bytes.word(at: start + 8 * index)
                    guard Entry.local(pair) < experts, Entry.place(pair) == place,
                        Entry.choice(pair) < topK
                    else {
                        throw CollectivesError.malformed(
                            Rank(rawValue: source),
                            "local expert \(Entry.local(pair)) of \(experts), place "
                                + "\(Entry.place(pair)), choice \(Entry.choice(pair)) of \(topK)")
                    }
                    pairs.append(pair)
                }
                entryPairs.append(Int32(pairs.count))
            }
        }
    }

    /// Sorts the pairs by local expert, keeping their order otherwise.
    func arrange(alignment: Int) {
        precondition(alignment >= 1, "alignment \(alignment)")
        let experts = group.placement.expertsByRank[map.rank].count
        expertCounts = [Int](repeating: 0, count: experts)
        for pair in pairs { expertCounts[Entry.local(pair)] += 1 }
        expertOffsets = [0]
        var next = [Int](repeating: 0, count: experts)
        for expert in 0 ..< experts {
            next[expert] = expertOffsets[expert]
            let rounded = (expertCounts[expert] + alignment - 1) / alignment * alignment
            expertOffsets.append(expertOffsets[expert] + rounded)
        }
        positions.removeAll(keepingCapacity: true)
        for pair in pairs {
            let expert = Entry.local(pair)
            positions.append(Int32(next[expert]))
            next[expert] += 1
        }
    }

    /// Gate weights in the order of `gather`.
    var rowWeights: [Float] {
        var weights = [Float](repeating: 0, count: expertOffsets.last ?? 0)
        for (pair, position) in zip(pairs, positions) {
            weights[Int(position)] = Entry.weight(pair)
        }
        return weights
    }

    /// Decodes every row of every local expert.
    func gather(into rows: Tensor) {
        let needed = expertOffsets.last ?? 0
        precondition(
            rows.rows >= needed && (rows.columns == hidden || needed == 0),
            "gather of \(needed) rows of \(hidden) into \(rows.rows)x\(rows.columns)")
        let codec = group.configuration.dispatchCodec
        for entry in 0 ..< entryRow.count {
            withTokenBytes(entry) { bytes in
                for pair in Int(entryPairs[entry]) ..< Int(entryPairs[entry + 1]) {
                    var row = rows.mutableRow(Int(positions[pair]))
                    codec.decode(bytes, into: &row)
                }
            }
        }
        for expert in expertCounts.indices {
            for padding in expertOffsets[expert] + expertCounts[expert]
                ..< expertOffsets[expert + 1]
            {
                rows.view(rows: padding ..< padding + 1).fill(0)
            }
        }
    }

    /// The encoded bytes of a received token, in the window of the rank that carries it.
    func withTokenBytes<R>(_ entry: Int, _ body: (RawSpan) throws -> R) rethrows -> R {
        let source = Int(entrySource[entry])
        let row = Int(entryRow[entry])
        let carrier = map.carrier(from: source, to: map.rank)
        let there = group.maps[carrier]
        let range =
            carrier == source
            ? there.token(buffer, row) : there.carried(buffer, from: source, row)
        return try withNeighbour(carrier, range, body)
    }

    /// The index of a received token at its source; with a carrier, it lies before the bytes.
    private func tokenIndex(_ entry: Int) -> Int {
        let source = Int(entrySource[entry])
        let row = Int(entryRow[entry])
        let carrier = map.carrier(from: source, to: map.rank)
        if carrier == source { return row }
        let start = group.maps[carrier].carried(buffer, from: source, row).lowerBound
        let head = start - own.entryBytes ..< start
        return Entry.row(withNeighbour(carrier, head) { $0.word(at: 0) })
    }

    func receivedToken(_ entry: Int) -> ReceivedToken {
        let meetings = pairs[Int(entryPairs[entry]) ..< Int(entryPairs[entry + 1])]
        return ReceivedToken(
            source: Rank(rawValue: Int(entrySource[entry])), index: tokenIndex(entry),
            pairs: meetings.map {
                ReceivedToken.Pair(
                    localExpert: Entry.local($0), choice: Entry.choice($0),
                    weight: Entry.weight($0))
            })
    }
}
