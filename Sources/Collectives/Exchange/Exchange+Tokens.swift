internal import Tensors
internal import Topology
internal import Transport

// What a rank receives: entries, and the tokens they name where those lie.

extension Exchange {
    /// Tokens that came for this rank's experts.
    var tokenCount: Int { arrived.entryRow.count }

    /// Waits for the entries of every source and takes them in, in rank order.
    func takeEntries(_ deadline: Deadline) throws {
        let map = layout.map
        let here = windows.own
        let limits = Arrivals.Limits(
            rows: here.tokenLimit, topK: layout.routing.topK,
            experts: layout.expertCount(on: map.rank), place: map.placeInNode[map.rank])
        arrived.begin()
        for source in map.ranks {
            defer { arrived.endSource() }
            if map.isMasked[source] { continue }
            let count = try arrival(.entries, from: source, atMost: here.tokenLimit, deadline)
            let entries = here.entries(buffer, from: source, count: count)
            try windows.window.withBytes(entries) { bytes in
                if map.share(source, map.rank) { clock.noteBegin(bytes.word(at: 0)) }
                try arrived.take(
                    bytes, count: count, entryBytes: here.entryBytes, from: source, limits)
            }
        }
    }

    /// Gate weights in the order of `gather`.
    var rowWeights: [Float] {
        var weights = [Float](repeating: 0, count: arrived.rowCount)
        for (pair, position) in zip(arrived.pairs, arrived.positions) {
            weights[Int(position)] = Entry.weight(pair)
        }
        return weights
    }

    /// Decodes every row of every local expert.
    func gather(into rows: Tensor) {
        let hidden = windows.configuration.hiddenSize
        let needed = arrived.rowCount
        precondition(
            rows.rows >= needed && (rows.columns == hidden || needed == 0),
            "gather of \(needed) rows of \(hidden) into \(rows.rows)x\(rows.columns)")
        let codec = windows.configuration.dispatchCodec
        for entry in 0 ..< tokenCount {
            withTokenBytes(entry) { bytes in
                for pair in arrived.pairRange(of: entry) {
                    var row = rows.mutableRow(Int(arrived.positions[pair]))
                    codec.decode(bytes, into: &row)
                }
            }
        }
    }

    /// The encoded bytes of a received token, in the window of the rank that carries it.
    func withTokenBytes<R>(_ entry: Int, _ body: (RawSpan) throws -> R) rethrows -> R {
        let tokens = tokens(of: arrived.source(of: entry))
        return try windows.read(tokens.carrier, tokens.places[Int(arrived.entryRow[entry])], body)
    }

    /// The rank of this node whose window holds the tokens of a source, and where they lie there.
    func tokens(of source: Rank) -> (carrier: Rank, places: RowPlaces) {
        let carrier = layout.map.carrier(from: source)
        let there = windows.maps[carrier]
        return (
            carrier, carrier == source ? there.tokens(buffer) : there.carried(buffer, from: source)
        )
    }

    /// The index of a received token at its source; with a carrier, it lies before the bytes.
    private func tokenIndex(_ entry: Int) -> Int {
        let source = arrived.source(of: entry)
        let row = Int(arrived.entryRow[entry])
        let (carrier, places) = tokens(of: source)
        if carrier == source { return row }
        let start = places[row].lowerBound
        let head = start - windows.own.entryBytes ..< start
        return Entry.row(windows.read(carrier, head) { $0.word(at: 0) })
    }

    /// Where a received token came from, and which experts it meets here.
    func receivedToken(_ entry: Int) -> ReceivedToken {
        ReceivedToken(
            source: arrived.source(of: entry), index: tokenIndex(entry),
            pairs: arrived.pairs[arrived.pairRange(of: entry)].map {
                ReceivedToken.Pair(
                    localExpert: Entry.local($0), choice: Entry.choice($0),
                    weight: Entry.weight($0))
            })
    }
}
