import Collectives
import Tensors

/// One exchange of a rank whose group is not there (`RankShare`): the rank's own part of a dispatch
/// and combine, as `Exchange` does it, without waiting and without a wire.
///
/// Dispatch encodes each token once and copies it once for every other node that it goes to.
/// Experts read and write rows where they lie. Combine adds what returned in the gate's order.
final class ShareExchange: ServingExchange {
    private let routing: Routing
    private let traffic: RankShare.Traffic
    private let share: RankShare
    /// Tokens to copy, once per other node.
    private let copies: [Int]
    /// Where each local expert's rows begin; one more than experts.
    private let offsets: [Int]
    /// Of each choice: its row of the outputs here, or of what returns.
    private let places: [(isHere: Bool, row: Int)]
    /// Of each row of an expert: the own token, or the arrived one.
    private let inputs: [(isOwn: Bool, token: Int)]
    private var outputs: EncodedRows?
    /// Values of a row.
    private var columns = 0

    init(_ routing: Routing, _ traffic: RankShare.Traffic, share: RankShare) {
        self.routing = routing
        self.traffic = traffic
        self.share = share
        copies = share.copies(of: routing)
        let here = share.expertsPerRank
        var bounds = [Int](repeating: 0, count: here + 1)
        for expert in routing.expertIDs where Int(expert) < here { bounds[Int(expert) + 1] += 1 }
        for arrival in traffic.arrivals { bounds[arrival.expert + 1] += 1 }
        for expert in 0 ..< here { bounds[expert + 1] += bounds[expert] }
        var next = bounds
        var inputs = [(isOwn: Bool, token: Int)](repeating: (true, 0), count: bounds[here])
        var returned = 0
        places = routing.expertIDs.enumerated().map { choice, expert in
            guard expert < here else {
                returned += 1
                return (false, returned - 1)
            }
            let row = next[Int(expert)]
            next[Int(expert)] += 1
            inputs[row] = (true, choice / routing.topK)
            return (true, row)
        }
        for arrival in traffic.arrivals {
            inputs[next[arrival.expert]] = (false, arrival.token)
            next[arrival.expert] += 1
        }
        self.inputs = inputs
        offsets = bounds
    }

    private func window(_ window: RankShare.Window, _ count: Int, _ columns: Int) -> EncodedRows {
        share.rows(window, count: count, columns: columns)
    }

    func start(_ rows: Tensor) {
        let codec = share.codec
        columns = rows.columns
        let sent = window(.sent, rows.rows, columns)
        for token in 0 ..< rows.rows {
            var target = sent.mutableRow(token)
            codec.encode(rows.row(token), into: &target)
        }
        let staged = window(.staged, copies.count, columns)
        for (row, token) in copies.enumerated() {
            var target = staged.mutableRow(row)
            codec.encode(sent.row(token), as: codec, columns: columns, into: &target)
        }
    }

    func compute(_ body: (ExpertRows) throws -> Void) throws {
        let sent = window(.sent, 0, columns)
        let arrived = window(.arrived, traffic.arrivedTokens, columns)
        let results = window(.outputs, inputs.count, columns)
        let from = ScatteredRows(share.codec, columns: columns)
        let to = ScatteredRows(share.codec, columns: columns)
        from.begin(count: inputs.count)
        to.begin(count: inputs.count)
        var bytes = results.mutableBytes
        try to.withArea(writing: &bytes) { area in
            for row in inputs.indices {
                to.place(row, area: area, offset: row * results.rowStride)
            }
            try from.withArea(reading: sent.bytes) { own in
                try from.withArea(reading: arrived.bytes) { foreign in
                    for (row, input) in inputs.enumerated() {
                        let rows = input.isOwn ? sent : arrived
                        from.place(
                            row, area: input.isOwn ? own : foreign,
                            offset: input.token * rows.rowStride)
                    }
                    try body(ExpertRows(inputs: from, outputs: to, offsets: offsets))
                }
            }
        }
        outputs = results
    }

    func finish(addingInto rows: Tensor) {
        guard let outputs = outputs.take() else { preconditionFailure("finish without compute") }
        let returned = window(.returned, places.count { !$0.isHere }, rows.columns)
        let sum = RowSum(share.codec, columns: rows.columns, capacity: routing.topK)
        sum.withArea(outputs.bytes) { here in
            sum.withArea(returned.bytes) { home in
                var terms: [RowTerm] = []
                for token in 0 ..< routing.tokenCount {
                    terms.removeAll(keepingCapacity: true)
                    for choice in token * routing.topK ..< (token + 1) * routing.topK {
                        let place = places[choice]
                        terms.append(
                            RowTerm(
                                area: place.isHere ? here : home,
                                offset: place.row * outputs.rowStride,
                                weight: routing.weights[choice]))
                    }
                    var target = rows.mutableRow(token)
                    sum.add(terms, into: &target)
                }
            }
        }
    }
}
