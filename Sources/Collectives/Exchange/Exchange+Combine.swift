internal import Tensors
internal import Topology
internal import Transport

extension Operation {
    var codec: RowCodec { group.configuration.combineCodec }
    var adds: Bool { group.configuration.addsBeforeReturn }

    func checkOutputs(_ outputs: Tensor, _ scalars: [Float]?) throws(CollectivesError) {
        let rows = arrived.expertOffsets.last ?? 0
        guard outputs.rows >= rows, outputs.columns == hidden || rows == 0 else {
            throw .shape(
                "outputs", found: [outputs.rows, outputs.columns], expected: [rows, hidden])
        }
        if group.configuration.carriesScalars, let scalars, scalars.count < rows {
            throw .shape("scalars", found: [scalars.count], expected: [rows])
        }
    }

    /// Encodes outputs where the ranks of this node read them.
    func writeOutputs(_ outputs: Tensor, scalars: [Float]?, weighting: Weighting) {
        if adds {
            writeSums(outputs, weighting)
        } else {
            writeRows(outputs, scalars)
        }
    }

    /// One row per token and expert: weighed and added at home.
    private func writeRows(_ outputs: Tensor, _ scalars: [Float]?) {
        let here = own
        let codec = codec
        let scalarOffset = here.outputBytes - 4
        let carries = group.configuration.carriesScalars
        for source in 0 ..< map.rankCount {
            let first = Int(arrived.sourcePairs[source])
            for pair in first ..< Int(arrived.sourcePairs[source + 1]) {
                let position = Int(arrived.positions[pair])
                window.withMutableBytes(here.output(buffer, to: source, pair - first)) { bytes in
                    codec.encode(outputs.row(position), into: &bytes)
                    if carries { bytes.setFloat(scalars?[position] ?? 0, at: scalarOffset) }
                }
            }
        }
    }

    /// One row per token: the weighted sum over this rank's experts, in the order of its choices.
    private func writeSums(_ outputs: Tensor, _ weighting: Weighting) {
        let codec = codec
        let sum = Tensor(rows: 1, columns: hidden)
        for entry in 0 ..< arrived.entryRow.count {
            let meetings = Int(arrived.entryPairs[entry]) ..< Int(arrived.entryPairs[entry + 1])
            sum.fill(0)
            for pair in meetings {
                let weight = weighting == .gate ? Entry.weight(arrived.pairs[pair]) : 1
                var row = sum.mutableRow(0)
                RowCodec.float32.accumulate(
                    outputs.bytes, at: 4 * hidden * Int(arrived.positions[pair]), weight: weight,
                    into: &row)
            }
            withOutputBytes(entry) { codec.encode(sum.row(0), into: &$0) }
        }
    }

    /// The row that goes home for a received token, or for one of its pairs.
    func withOutputBytes(_ entry: Int, pair: Int = 0, _ body: (inout MutableRawSpan) -> Void) {
        let source = Int(arrived.entrySource[entry])
        precondition(pair == 0 || !adds, "pair \(pair) of a token whose pairs are added up")
        let row =
            adds
            ? entry - Int(arrived.sourceEntries[source])
            : Int(arrived.entryPairs[entry]) + pair - Int(arrived.sourcePairs[source])
        window.withMutableBytes(own.output(buffer, to: source, row), body)
    }

    /// Tells the ranks of this node that this rank's outputs can be read.
    func startCombine(weighting: Weighting) throws {
        precondition(phase == .received, "a combine without a dispatch")
        begin(.combining)
        self.weighting = weighting
        try group.flushAfterLoss(deadline("combine"))
        for rank in map.neighbours {
            try signal(.outputs, at: rank, count: outputCount(for: rank))
        }
        try advance()
    }

    /// Rows that this rank has for a source.
    func outputCount(for source: Int) -> Int {
        let starts = adds ? arrived.sourceEntries : arrived.sourcePairs
        return Int(starts[source + 1] - starts[source])
    }

    /// Brings rows home for other nodes, then adds up this rank's own.
    func finishCombine(addingInto rows: Tensor) throws {
        let layout = try layoutToFinish(rows: rows.rows, columns: rows.columns)
        try finish(layout, layout.tokensSent[...]) { token, sum, terms in
            var target = rows.mutableRow(Int(token))
            sum.add(terms, into: &target)
        }
    }

    /// Brings rows home for other nodes, then writes the sums of this rank's own.
    func finishCombine(into rows: EncodedRows) throws {
        let layout = try layoutToFinish(rows: rows.rows, columns: rows.columns)
        let codec = rows.codec
        let isStreamed = layout.tokenCount * rows.rowBytes > Self.cacheBytes
        try finish(layout, 0 ..< Int32(layout.tokenCount)) { token, sum, terms in
            var target = rows.mutableRow(Int(token))
            sum.write(terms, into: &target, as: codec, isStreamed: isStreamed)
        }
    }

    /// More than the second-level cache of a core: who reads so many sums finds few of them there.
    private static let cacheBytes = 4 << 20

    private func layoutToFinish(rows: Int, columns: Int) throws -> DispatchLayout {
        precondition(phase == .combining, "a combine that was not started")
        guard let layout else { preconditionFailure("a combine without a layout") }
        guard rows >= layout.tokenCount, columns == hidden || layout.tokenCount == 0 else {
            throw CollectivesError.shape(
                "combined rows", found: [rows, columns], expected: [layout.tokenCount, hidden])
        }
        return layout
    }

    /// Does what other nodes wait for, then lends the rows of each token to `body`, in the order of
    /// its choices.
    private func finish(
        _ layout: DispatchLayout, _ tokens: some Sequence<Int32>,
        _ body: (Int32, RowSum, [RowTerm]) -> Void
    ) throws {
        look()
        let deadline = deadline("combine")
        for rank in map.neighbours {
            let rowCount = adds ? layout.entryCount(rank) : layout.pairCounts[rank]
            try expect(rowCount, .outputs, from: rank, deadline)
        }
        for source in map.carriedSources where !isRelayed[source] { try sendHome(to: source) }
        look()
        let sum = RowSum(codec, columns: hidden, capacity: group.configuration.topK)
        var areas = [Int](repeating: -1, count: 2 * map.rankCount)
        try lend(map.neighbours[...], to: sum, &areas) { areas in
            try addUp(tokens, layout, areas, deadline) { body($0, sum, $1) }
        }
        for carrier in map.remoteCarriers {
            try expect(layout.returnCount[carrier], .returned, from: carrier, deadline)
        }
        if arrivedAt == 0 { arrivedAt = group.clock.nanoseconds }
        phase = .idle
        record(.combine)
    }

    private func expect(_ count: Int, _ kind: Arrival, from rank: Int, _ deadline: Deadline) throws
    {
        let found = try arrival(kind, from: rank, atLeast: count, atMost: count, deadline)
        guard found == count else {
            throw CollectivesError.malformed(
                Rank(rawValue: rank), "\(found) rows came home, \(count) were sent for")
        }
    }

    func withOutput<R>(
        of rank: Int, for source: Int, _ row: Int, _ body: (RawSpan) throws -> R
    ) rethrows -> R {
        try withNeighbour(rank, group.maps[rank].output(buffer, to: source, row), body)
    }

    /// Lends the rows that ranks of this node have for this one, and those that come home.
    ///
    /// - Parameter areas: Receives the number of the area of each rank of this node; after the
    ///   ranks, that of each carrier.
    private func lend(
        _ ranks: ArraySlice<Int>, to sum: RowSum, _ areas: inout [Int],
        _ body: ([Int]) throws -> Void
    ) throws {
        if let next = ranks.first {
            let rows = group.maps[next].outputs(buffer, to: rank)
            return try withNeighbour(next, rows.all) { bytes in
                try sum.lend(bytes) { area in
                    areas[next] = area
                    try lend(ranks.dropFirst(), to: sum, &areas, body)
                }
            }
        }
        try window.withBytes(own.returned(buffer).all) { bytes in
            try sum.lend(bytes) { area in
                for carrier in map.remoteCarriers { areas[map.rankCount + carrier] = area }
                try body(areas)
            }
        }
    }

    /// Lends the rows of each token to `body`, in the order of its choices, as they come home.
    @inline(__always)
    private func addUp(
        _ tokens: some Sequence<Int32>, _ layout: DispatchLayout, _ areas: [Int],
        _ deadline: Deadline, _ body: (Int32, [RowTerm]) -> Void
    ) throws {
        let ranks = map.rankCount
        let topK = group.configuration.topK
        let stride = own.outputStride
        let weighs = weighting == .gate && !adds
        let carries = group.configuration.carriesScalars
        homeScalars = carries ? [Float](repeating: 0, count: layout.tokenCount * topK) : []
        // Rows of each carrier from here on have not come home yet, as far as this rank has looked.
        var known = layout.returnBase
        var terms: [RowTerm] = []
        terms.reserveCapacity(topK)
        for token in tokens {
            terms.removeAll(keepingCapacity: true)
            for index in Int(token) * topK ..< (Int(token) + 1) * topK {
                let from = Int(layout.contributors[index])
                if from < 0 { continue }
                let row = Int(layout.rows[index])
                if from >= ranks, row >= known[from - ranks] {
                    let carrier = from - ranks
                    let base = layout.returnBase[carrier]
                    known[carrier] =
                        try base
                        + arrival(
                            .returned, from: carrier, atLeast: row - base + 1,
                            atMost: layout.returnCount[carrier], deadline)
                    look()
                }
                if carries { homeScalars[index] = homeScalar(from: from, row) }
                let weight = weighs ? layout.routing.weights[index] : 1
                terms.append(RowTerm(area: areas[from], offset: row * stride, weight: weight))
            }
            body(token, terms)
        }
    }

    /// The number that came with a row.
    private func homeScalar(from: Int, _ row: Int) -> Float {
        let place =
            from < map.rankCount
            ? group.maps[from].output(buffer, to: rank, row) : own.returned(buffer)[row]
        return withNeighbour(from < map.rankCount ? from : rank, place) {
            $0.float(at: own.outputBytes - 4)
        }
    }
}
