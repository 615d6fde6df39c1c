internal import Tensors
internal import Topology
internal import Transport

// Rows are added where they lie: in the windows of the ranks of this node, and in this rank's own
// window where carriers brought them.

extension Exchange {
    /// Sums of rows as they return, up to top-k of them.
    func makeSum() -> RowSum {
        RowSum(
            windows.configuration.combineCodec, columns: windows.configuration.hiddenSize,
            capacity: windows.configuration.topK)
    }

    /// Calls `body` while `sum` may read the rows that ranks of this node have for a source.
    ///
    /// `body` is given, per rank, the number of its rows' area; -1 for a rank not in `ranks`.
    func withRows(
        of ranks: ArraySlice<Rank>, for source: Rank, in sum: RowSum,
        _ body: (PerRank<Int>) throws -> Void
    ) throws {
        var areas = PerRank(repeating: -1, count: layout.map.rankCount)
        try withRows(of: ranks, for: source, in: sum, &areas, body)
    }

    private func withRows(
        of ranks: ArraySlice<Rank>, for source: Rank, in sum: RowSum, _ areas: inout PerRank<Int>,
        _ body: (PerRank<Int>) throws -> Void
    ) throws {
        guard let next = ranks.first else { return try body(areas) }
        let rows = windows.maps[next].outputs(buffer, to: source)
        try windows.read(next, rows.all) { bytes in
            try sum.withArea(bytes) { area in
                areas[next] = area
                try withRows(of: ranks.dropFirst(), for: source, in: sum, &areas, body)
            }
        }
    }

    /// Gives the rows of each token to `body`, in the order of its choices, as they return.
    func addUp(
        _ tokens: some Sequence<Int32>, _ deadline: Deadline,
        _ body: (Int32, RowSum, [RowTerm]) -> Void
    ) throws {
        let sum = makeSum()
        let layout = layout
        try withRows(of: layout.map.neighbours[...], for: windows.rank, in: sum) { areas in
            let returned = windows.own.returned(buffer).all
            try windows.window.withBytes(returned) { bytes in
                try sum.withArea(bytes) { home in
                    let areas = areas.values + repeatElement(home, count: layout.map.rankCount)
                    try addUp(tokens, layout, areas, deadline) { body($0, sum, $1) }
                }
            }
        }
    }

    /// - Parameter areas: By list of the layout: where its rows are found.
    @inline(__always)
    private func addUp(
        _ tokens: some Sequence<Int32>, _ layout: DispatchLayout, _ areas: [Int],
        _ deadline: Deadline, _ body: (Int32, [RowTerm]) -> Void
    ) throws {
        let ranks = layout.map.rankCount
        let topK = layout.routing.topK
        let stride = windows.own.outputStride
        let weighs = weighting == .gate && !windows.configuration.addsBeforeReturn
        let carries = windows.configuration.carriesScalars
        homeScalars = carries ? [Float](repeating: 0, count: layout.tokenCount * topK) : []
        // Rows of each carrier from here on have not returned yet, as far as this rank has seen.
        var known = layout.returnBase
        var terms: [RowTerm] = []
        terms.reserveCapacity(topK)
        for token in tokens {
            terms.removeAll(keepingCapacity: true)
            for index in Int(token) * topK ..< (Int(token) + 1) * topK {
                let list = Int(layout.contributors[index])
                if list < 0 { continue }
                let row = Int(layout.rows[index])
                if list >= ranks {
                    let carrier = Rank(rawValue: list - ranks)
                    if row >= known[carrier] {
                        known[carrier] = try rowsHome(
                            from: carrier, beyond: row, layout, deadline)
                    }
                }
                if carries { homeScalars[index] = homeScalar(list: list, row, ranks) }
                let weight = weighs ? layout.routing.weights[index] : 1
                terms.append(RowTerm(area: areas[list], offset: row * stride, weight: weight))
            }
            body(token, terms)
        }
    }

    /// Waits until a carrier brought home this row, and returns the first that it did not bring.
    private func rowsHome(
        from carrier: Rank, beyond row: Int, _ layout: DispatchLayout, _ deadline: Deadline
    ) throws -> Int {
        let base = layout.returnBase[carrier]
        let count = try arrival(
            .returned, from: carrier, atLeast: row - base + 1,
            atMost: layout.returnCount[carrier], deadline)
        noteArrival()
        return base + count
    }

    /// The number that came with a row.
    private func homeScalar(list: Int, _ row: Int, _ ranks: Int) -> Float {
        let offset = windows.own.outputBytes - 4
        if list >= ranks {
            return windows.window.withBytes(windows.own.returned(buffer)[row]) {
                $0.float(at: offset)
            }
        }
        let rank = Rank(rawValue: list)
        let place = windows.maps[rank].output(buffer, to: windows.rank, row)
        return windows.read(rank, place) { $0.float(at: offset) }
    }
}
