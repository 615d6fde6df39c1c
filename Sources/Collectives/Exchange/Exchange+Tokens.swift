internal import Tensors
internal import Topology
internal import Transport

extension Operation {
    /// Waits for the entries of a source and takes them in.
    func takeEntries(from source: Int, _ deadline: Deadline) throws {
        let here = own
        let count = try arrival(.entries, from: source, atMost: here.tokenCeiling, deadline)
        let limits = Arrivals.Limits(
            rows: here.tokenCeiling, topK: group.configuration.topK, experts: expertCount,
            place: map.placeInNode[map.rank])
        let entryBytes = here.entryBytes
        try window.withBytes(here.entries(buffer, from: source, count: count)) { bytes in
            if map.share(source, map.rank) { lastBegin = max(lastBegin, bytes.word(at: 0)) }
            try arrived.take(bytes, count: count, entryBytes: entryBytes, from: source, limits)
        }
    }

    /// Experts of this rank.
    private var expertCount: Int { group.placement.expertsByRank[map.rank].count }

    /// Sorts the pairs by local expert, keeping their order otherwise.
    func arrange(alignment: Int) {
        arrived.arrange(alignment: alignment, experts: expertCount)
    }

    /// Gate weights in the order of `gather`.
    var rowWeights: [Float] {
        var weights = [Float](repeating: 0, count: arrived.expertOffsets.last ?? 0)
        for (pair, position) in zip(arrived.pairs, arrived.positions) {
            weights[Int(position)] = Entry.weight(pair)
        }
        return weights
    }

    /// Decodes every row of every local expert.
    func gather(into rows: Tensor) {
        let needed = arrived.expertOffsets.last ?? 0
        precondition(
            rows.rows >= needed && (rows.columns == hidden || needed == 0),
            "gather of \(needed) rows of \(hidden) into \(rows.rows)x\(rows.columns)")
        let codec = group.configuration.dispatchCodec
        for entry in 0 ..< arrived.entryRow.count {
            withTokenBytes(entry) { bytes in
                for pair in Int(arrived.entryPairs[entry]) ..< Int(arrived.entryPairs[entry + 1]) {
                    var row = rows.mutableRow(Int(arrived.positions[pair]))
                    codec.decode(bytes, into: &row)
                }
            }
        }
        for expert in arrived.expertCounts.indices {
            for padding in arrived.expertOffsets[expert] + arrived.expertCounts[expert]
                ..< arrived.expertOffsets[expert + 1]
            {
                rows.view(rows: padding ..< padding + 1).fill(0)
            }
        }
    }

    /// The encoded bytes of a received token, in the window of the rank that carries it.
    func withTokenBytes<R>(_ entry: Int, _ body: (RawSpan) throws -> R) rethrows -> R {
        let source = Int(arrived.entrySource[entry])
        let row = Int(arrived.entryRow[entry])
        let carrier = map.carrier(from: source, to: map.rank)
        let there = group.maps[carrier]
        let range =
            carrier == source
            ? there.token(buffer, row) : there.carried(buffer, from: source, row)
        return try withNeighbour(carrier, range, body)
    }

    /// The index of a received token at its source; with a carrier, it lies before the bytes.
    private func tokenIndex(_ entry: Int) -> Int {
        let source = Int(arrived.entrySource[entry])
        let row = Int(arrived.entryRow[entry])
        let carrier = map.carrier(from: source, to: map.rank)
        if carrier == source { return row }
        let start = group.maps[carrier].carried(buffer, from: source, row).lowerBound
        let head = start - own.entryBytes ..< start
        return Entry.row(withNeighbour(carrier, head) { $0.word(at: 0) })
    }

    func receivedToken(_ entry: Int) -> ReceivedToken {
        let meetings = arrived.pairs[
            Int(arrived.entryPairs[entry]) ..< Int(arrived.entryPairs[entry + 1])]
        return ReceivedToken(
            source: Rank(rawValue: Int(arrived.entrySource[entry])), index: tokenIndex(entry),
            pairs: meetings.map {
                ReceivedToken.Pair(
                    localExpert: Entry.local($0), choice: Entry.choice($0),
                    weight: Entry.weight($0))
            })
    }
}
