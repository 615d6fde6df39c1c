internal import Tensors
internal import Topology
internal import Transport

// The rows of this rank's experts where they lie: tokens in the windows of the ranks of this node,
// outputs in this rank's own window, from where they go home.

extension Exchange {
    /// Calls `body` while experts may read and write the rows, which are in the order of `gather`.
    func withExpertRows<R>(
        _ body: (_ inputs: ScatteredRows, _ outputs: ScatteredRows) throws -> R
    ) throws -> R {
        precondition(state == .received, "rows of an exchange that is \(state)")
        precondition(
            !windows.configuration.addsBeforeReturn && !windows.configuration.carriesScalars,
            "an output of an expert is not what goes home")
        inputs.begin(count: arrived.rowCount)
        outputs.begin(count: arrived.rowCount)
        let places = layout.map.ranks.map { windows.own.outputs(buffer, to: $0).all }
        let all = places[0].lowerBound ..< places[places.count - 1].upperBound
        return try windows.window.withMutableBytes(all) { bytes in
            try outputs.withArea(writing: &bytes) { area in
                placeOutputs(in: area, from: all.lowerBound)
                return try withTokens(of: layout.map.ranks[...]) { try body(inputs, outputs) }
            }
        }
    }

    /// One output per pair, by source.
    private func placeOutputs(in area: Int, from start: Int) {
        for source in layout.map.ranks {
            let places = windows.own.outputs(buffer, to: source)
            for (row, position) in arrived.positions(from: source).enumerated() {
                outputs.place(
                    Int(position), area: area, offset: places[row].lowerBound - start)
            }
        }
    }

    /// Calls `body` while the tokens of all sources can be read.
    private func withTokens<R>(
        of sources: ArraySlice<Rank>, _ body: () throws -> R
    ) throws -> R {
        guard let source = sources.first else { return try body() }
        guard arrived.entryCount(from: source) > 0 else {
            return try withTokens(of: sources.dropFirst(), body)
        }
        let (carrier, places) = tokens(of: source)
        return try windows.read(carrier, places.all) { bytes in
            try inputs.withArea(reading: bytes) { area in
                placeTokens(of: source, in: area, places)
                return try withTokens(of: sources.dropFirst(), body)
            }
        }
    }

    /// A token is the input of each of its pairs.
    private func placeTokens(of source: Rank, in area: Int, _ places: RowPlaces) {
        let first = arrived.firstEntry(of: source)
        for entry in first ..< first + arrived.entryCount(from: source) {
            let offset = places[Int(arrived.entryRow[entry])].lowerBound - places.start
            for pair in arrived.pairRange(of: entry) {
                inputs.place(Int(arrived.positions[pair]), area: area, offset: offset)
            }
        }
    }
}
