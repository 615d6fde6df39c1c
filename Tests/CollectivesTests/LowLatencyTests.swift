import Tensors
import Testing
import Topology

@testable import Collectives

@Suite struct LowLatencyTests {
    static func exchange(
        ranks: Int, dispatch: RowCodec, combine: RowCodec, nodes: [Int]? = nil
    ) throws -> RoundTrip {
        let counts = [[24], [13, 11], [7, 6, 11], [5, 8, 0, 11]]
        return RoundTrip(
            configuration: ExpertParallelConfiguration(
                mode: .lowLatency, hiddenSize: 384, topK: 4, maximumTokensPerRank: 24,
                dispatchCodec: dispatch, combineCodec: combine),
            map: try .contiguous(expertCount: 10, rankCount: ranks),
            tokenCounts: counts[ranks - 1], nodes: nodes, skipEvery: 7)
    }

    @Test(arguments: [1, 2, 3, 4])
    func `combine after dispatch gives what brute force gives, bit for bit`(ranks: Int) throws {
        for (dispatch, combine): (RowCodec, RowCodec) in [
            (.float32, .float32), (.bfloat16, .bfloat16),
            (.float8e4m3(powerOfTwo: false), .bfloat16),
            (.float8e4m3(powerOfTwo: true), .float32),
        ] {
            let exchange = try Self.exchange(ranks: ranks, dispatch: dispatch, combine: combine)
            #expect(try exchange.run(rounds: 3).flatMap { $0 } == exchange.oracle())
        }
    }

    @Test(arguments: [[0, 1, 2, 3], [0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]])
    func `the bits do not depend on which ranks share a node`(nodes: [Int]) throws {
        let exchange = try Self.exchange(
            ranks: 4, dispatch: .float8e4m3(powerOfTwo: false), combine: .bfloat16, nodes: nodes)
        #expect(try exchange.run(rounds: 3).flatMap { $0 } == exchange.oracle())
    }

    @Test func `a plain combine adds each row once`() throws {
        var exchange = try Self.exchange(ranks: 3, dispatch: .float32, combine: .float32)
        exchange.weighting = .plain
        #expect(try exchange.run().flatMap { $0 } == exchange.oracle())
    }
}
