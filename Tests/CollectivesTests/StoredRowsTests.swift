import Encoding
import Tensors
import TestSupport
import Testing
import Topology

@testable import Collectives

@Suite struct StoredRowsTests {
    /// A round trip of tokens that are stored in bf16, beside the same tokens in f32.
    private func difference(_ configuration: ExpertParallelConfiguration) throws -> Int {
        var random = SplitMix64(seed: 5)
        let tokenCount = 12
        let hidden = configuration.hiddenSize
        let values = (0 ..< tokenCount * hidden).map { _ -> Float in
            let value = Float(random.uniform() - 0.5)
            return Float(bitPattern: value.bitPattern & 0xffff_0000)
        }
        let differences = try onRanks(3, nodes: [0, 0, 1]) { fabric in
            let map = try ExpertMap.contiguous(expertCount: 6, rankCount: 3)
            let group = try ExpertParallelGroup(
                fabric: fabric, configuration: configuration, map: map)
            // One token goes nowhere.
            var experts: [Int32] = []
            var weights: [Float] = []
            for token in 0 ..< tokenCount {
                let second = (token + 2) % 6
                experts += token == 3 ? [-1, -1] : [Int32(token % 6), Int32(second)]
                weights += [0.25 * Float(token), -0.5]
            }
            let routing = try Routing(
                tokenCount: tokenCount, topK: 2, expertIDs: experts, weights: weights)
            let plain = Tensor(rows: tokenCount, columns: hidden, values: values)
            let rows = EncodedRows(.bfloat16, rows: tokenCount, columns: hidden)
            let sums = EncodedRows(.bfloat16, rows: tokenCount, columns: hidden)
            for token in 0 ..< tokenCount {
                var row = rows.mutableRow(token)
                RowCodec.bfloat16.encode(plain.row(token), into: &row)
                var garbage = sums.mutableRow(token)
                RowCodec.bfloat16.encode(plain.row(token), into: &garbage)
            }
            func outputs(_ received: borrowing ReceivedTokens) -> Tensor {
                let gathered = Tensor(rows: received.rowCount, columns: hidden)
                received.gather(into: gathered)
                return gathered
            }
            let added = Tensor(rows: tokenCount, columns: hidden)
            let first = try group.dispatch(plain, routing: routing, in: map, layer: 0).wait()
            let firstOutputs = outputs(first)
            try group.combine(firstOutputs, for: first).wait(addingInto: added)
            let second = try group.dispatch(rows, routing: routing, in: map, layer: 0).wait()
            let secondOutputs = outputs(second)
            try group.combine(secondOutputs, for: second).wait(into: sums)
            let expected = EncodedRows(.bfloat16, rows: 1, columns: hidden)
            return (0 ..< tokenCount).count { (token: Int) -> Bool in
                var bytes = expected.mutableRow(0)
                RowCodec.bfloat16.encode(added.row(token), into: &bytes)
                return !sums.row(token).holdsSameBytes(
                    at: 0, as: expected.row(0), at: 0, count: expected.rowBytes)
            }
        }
        return differences.reduce(0, +)
    }

    @Test(arguments: ExpertParallelConfiguration.Mode.allCases)
    func `tokens that are stored in bf16 return as those in f32 do, rounded`(
        mode: ExpertParallelConfiguration.Mode
    ) throws {
        for codec: RowCodec in [.float32, .bfloat16, .float8e4m3(powerOfTwo: true)] {
            let configuration = ExpertParallelConfiguration(
                mode: mode, hiddenSize: 256, topK: 2, maximumTokensPerRank: 16,
                dispatchCodec: codec, combineCodec: codec == .float32 ? .float32 : .bfloat16)
            #expect(try difference(configuration) == 0)
        }
    }

    @Test func `tokens stored as they travel are copied, and other e4m3 is refused`() throws {
        _ = try onRanks(1, nodes: [0]) { fabric in
            let codec = RowCodec.float8e4m3(powerOfTwo: true)
            let map = try ExpertMap.contiguous(expertCount: 1, rankCount: 1)
            let group = try ExpertParallelGroup(
                fabric: fabric,
                configuration: ExpertParallelConfiguration(
                    mode: .normal, hiddenSize: 128, topK: 1, maximumTokensPerRank: 1,
                    dispatchCodec: codec),
                map: map)
            let routing = try Routing(tokenCount: 1, topK: 1, expertIDs: [0])
            let other = EncodedRows(.float8e4m3(powerOfTwo: false), rows: 1, columns: 128)
            #expect(throws: CollectivesError.codec("fp8", travels: "fp8-pow2")) {
                _ = try group.dispatch(other, routing: routing, in: map, layer: 0).wait()
            }
            let token = EncodedRows(codec, rows: 1, columns: 128)
            var row = token.mutableRow(0)
            let ramp = Tensor(rows: 1, columns: 128, values: (0 ..< 128).map(Float.init))
            codec.encode(ramp.row(0), into: &row)
            let received = try group.dispatch(token, routing: routing, in: map, layer: 0).wait()
            let isSame = try received.withToken(0) {
                $0.holdsSameBytes(at: 0, as: token.row(0), at: 0, count: token.rowBytes)
            }
            #expect(isSame)
            let sums = EncodedRows(.bfloat16, rows: 1, columns: 128)
            try group.combineWritten(received).wait(into: sums)
        }
    }
}
