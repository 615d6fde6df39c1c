internal import Tensors
internal import Topology
internal import Transport

// What a rank's experts made: rows in its window, one per token where ranks add before return, one
// per token and expert otherwise. What returns is added up in `Exchange+Sums`.

extension Exchange {
    /// Refuses outputs of another shape than the dispatch brought.
    func checkOutputs(_ outputs: Tensor, _ scalars: [Float]?) throws(CollectivesError) {
        let hidden = windows.configuration.hiddenSize
        let rows = arrived.rowCount
        guard outputs.rows >= rows, outputs.columns == hidden || rows == 0 else {
            throw .shape(
                "outputs", found: [outputs.rows, outputs.columns], expected: [rows, hidden])
        }
        if windows.configuration.carriesScalars, let scalars, scalars.count < rows {
            throw .shape("scalars", found: [scalars.count], expected: [rows])
        }
    }

    /// Encodes outputs where the ranks of this node read them.
    func writeOutputs(_ outputs: Tensor, scalars: [Float]?, weighting: Weighting) {
        if windows.configuration.addsBeforeReturn {
            writeSums(outputs, weighting)
        } else {
            writeRows(outputs, scalars)
        }
    }

    /// One row per token and expert: weighed and added by the sender.
    private func writeRows(_ outputs: Tensor, _ scalars: [Float]?) {
        let here = windows.own
        let codec = windows.configuration.combineCodec
        let scalarOffset = here.outputBytes - 4
        let carries = windows.configuration.carriesScalars
        for source in layout.map.ranks {
            let places = here.outputs(buffer, to: source)
            for (row, position) in arrived.positions(from: source).enumerated() {
                windows.window.withMutableBytes(places[row]) { bytes in
                    codec.encode(outputs.row(Int(position)), into: &bytes)
                    if carries {
                        bytes.setFloat(scalars?[Int(position)] ?? 0, at: scalarOffset)
                    }
                }
            }
        }
    }

    /// One row per token: the weighted sum over this rank's experts, in the order of its choices.
    private func writeSums(_ outputs: Tensor, _ weighting: Weighting) {
        let codec = windows.configuration.combineCodec
        let hidden = windows.configuration.hiddenSize
        let sum = Tensor(rows: 1, columns: hidden)
        for entry in 0 ..< tokenCount {
            sum.fill(0)
            for pair in arrived.pairRange(of: entry) {
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
        let adds = windows.configuration.addsBeforeReturn
        precondition(pair == 0 || !adds, "pair \(pair) of a token whose pairs are added up")
        let source = arrived.source(of: entry)
        let row =
            adds
            ? entry - arrived.firstEntry(of: source)
            : arrived.pairRange(of: entry).lowerBound + pair - arrived.firstPair(of: source)
        windows.window.withMutableBytes(windows.own.output(buffer, to: source, row), body)
    }

    /// Rows that this rank has for a source.
    func outputCount(for source: Rank) -> Int {
        windows.configuration.addsBeforeReturn
            ? arrived.entryCount(from: source) : arrived.pairCount(from: source)
    }

    /// Adds the sums of this rank's tokens to `rows`.
    func finish(addingInto rows: Tensor) throws {
        let layout = try layoutToFinish(rows: rows.rows, columns: rows.columns)
        try finish(layout.tokensSent[...]) { token, sum, terms in
            var target = rows.mutableRow(Int(token))
            sum.add(terms, into: &target)
        }
    }

    /// Writes the sums of this rank's tokens.
    func finish(into rows: EncodedRows) throws {
        let layout = try layoutToFinish(rows: rows.rows, columns: rows.columns)
        let codec = rows.codec
        let isStreamed = layout.tokenCount * rows.rowBytes > Self.cacheBytes
        try finish(0 ..< Int32(layout.tokenCount)) { token, sum, terms in
            var target = rows.mutableRow(Int(token))
            sum.write(terms, into: &target, as: codec, isStreamed: isStreamed)
        }
    }

    /// More than the second-level cache of a core: who reads so many sums finds few of them there.
    private static let cacheBytes = 4 << 20

    private func layoutToFinish(rows: Int, columns: Int) throws -> DispatchLayout {
        let layout = layout
        let hidden = windows.configuration.hiddenSize
        guard rows >= layout.tokenCount, columns == hidden || layout.tokenCount == 0 else {
            throw CollectivesError.shape(
                "combined rows", found: [rows, columns], expected: [layout.tokenCount, hidden])
        }
        return layout
    }
}
