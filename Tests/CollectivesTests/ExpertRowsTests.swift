import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Collectives

@Suite struct ExpertRowsTests {
    /// The experts of `RoundTrip`, over rows where they lie.
    private func exchange(_ trip: RoundTrip, _ part: RoundTrip.Part) throws {
        let group = part.group
        let received = try group.dispatch(
            part.tokens, routing: part.routing, in: trip.map, layer: trip.layer
        ).wait()
        let experts = trip.map.experts(on: group.fabric.rank, layer: trip.layer)
        let offsets = received.expertOffsets
        let row = Tensor(rows: 1, columns: trip.hidden)
        try received.withRows { inputs, outputs in
            for (local, expert) in experts.enumerated() {
                for index in offsets[local] ..< offsets[local + 1] {
                    inputs.withRow(index) { bytes in
                        var values = row.mutableRow(0)
                        inputs.codec.decode(bytes, into: &values)
                    }
                    for column in 0 ..< trip.hidden {
                        row[0, column] = RoundTrip.expert(expert.rawValue, row[0, column])
                    }
                    outputs.withMutableRow(index) {
                        outputs.codec.encode(row.row(0), into: &$0)
                    }
                }
            }
        }
        try group.combineWritten(received, weighting: trip.weighting)
            .wait(addingInto: part.result)
    }

    /// Every rank's rows, in rank order, after a few rounds through both buffers.
    private func run(_ trip: RoundTrip) throws -> [Float] {
        try trip.onEveryRank { part in
            for _ in 0 ..< 3 {
                part.result.fill(0)
                try exchange(trip, part)
            }
            return part.result.values
        }.flatMap { $0 }
    }

    @Test(
        arguments: [[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 2, 2]],
        ExpertParallelConfiguration.Mode.allCases)
    func `rows that experts read and write where they lie return as brute force says`(
        nodes: [Int], mode: ExpertParallelConfiguration.Mode
    ) throws {
        for dispatch: RowCodec in [.float32, .bfloat16, .float8e4m3(powerOfTwo: false)] {
            for combine: RowCodec in [.float32, .bfloat16] {
                let configuration = ExpertParallelConfiguration(
                    mode: mode, hiddenSize: 136, topK: 3, maximumTokensPerRank: 16,
                    dispatchCodec: dispatch, combineCodec: combine, addsBeforeReturn: false)
                let trip = RoundTrip(
                    configuration: configuration,
                    map: try ExpertMap.contiguous(expertCount: 8, rankCount: 4),
                    tokenCounts: [16, 0, 7, 11], nodes: nodes, skipEvery: 5)
                #expect(try run(trip) == trip.oracle(), "\(dispatch) out, \(combine) home")
            }
        }
    }
}
