import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Collectives

@Suite struct NormalTests {
    static func exchange(nodes: [Int]?, adds: Bool = true) throws -> RoundTrip {
        // Uneven shares, and a second copy of experts 3 and 11 on another rank.
        let placement = try ExpertPlacement(
            expertCount: 12,
            expertsByRank: [[0, 1, 2, 3, 11], [4, 5, 3], [6], [7, 8, 9, 10, 11]])
        return try RoundTrip(
            configuration: ExpertParallelConfiguration(
                mode: .normal, hiddenSize: 256, topK: 4, maximumTokensPerRank: 64,
                dispatchCodec: .float32, combineCodec: .float32, addsBeforeReturn: adds),
            map: ExpertMap(placements: [placement]), tokenCounts: [64, 0, 17, 40], nodes: nodes,
            skipEvery: 5)
    }

    static let arrangements: [[Int]] = [
        [0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 2, 3], [0, 0, 0, 1], [0, 1, 1, 0],
    ]

    @Test(arguments: arrangements)
    func `adding on the way changes no sum by more than rounding`(nodes: [Int]) throws {
        let exchange = try Self.exchange(nodes: nodes)
        let found = try exchange.run(rounds: 3).flatMap { $0 }
        let expected = try exchange.oracle()
        // Four terms below 32 in magnitude, each addition off by half a unit of 2^-24 of it.
        let tolerance: Float = 4 * 32 * 0x1p-24 * 4
        for (a, b) in zip(found, expected) { #expect(abs(a - b) <= tolerance) }
        #expect(found.count == expected.count)
    }

    @Test(arguments: arrangements)
    func `without adding on the way normal mode gives the bits of brute force`(
        nodes: [Int]
    ) throws {
        var exchange = try Self.exchange(nodes: nodes, adds: false)
        exchange.configuration.dispatchCodec = .float8e4m3(powerOfTwo: false)
        exchange.configuration.combineCodec = .bfloat16
        #expect(try exchange.run(rounds: 3).flatMap { $0 } == exchange.oracle())
    }

    @Test func `adding on the way gives the same bits in every run`() throws {
        let exchange = try Self.exchange(nodes: [0, 0, 1, 1])
        let first = try exchange.run()
        for _ in 0 ..< 5 { #expect(try exchange.run() == first) }
    }

    @Test func `a token crosses to another node once`() throws {
        var exchange = try Self.exchange(nodes: [0, 0, 1, 1])
        exchange.skipEvery = 0
        let setup = exchange
        let records = try setup.onEveryRank { part in
            try setup.exchange(part)
            return part.group.records
        }
        // Counted here from the placement alone. Rank 0 has copies of 3 and 11 of its own.
        let holders: [Int32: Int] = [
            0: 0, 1: 0, 2: 0, 3: 0, 11: 0, 4: 1, 5: 1, 6: 2, 7: 3, 8: 3, 9: 3, 10: 3,
        ]
        let share = try setup.share(setup.globalRouting(), of: 0)
        var perRank = [0, 0, 0, 0]
        var elsewhere = 0
        for token in 0 ..< share.tokenCount {
            let ranks = Set(share.expertIDs[token * 4 ..< token * 4 + 4].map { holders[$0]! })
            for rank in ranks { perRank[rank] += 1 }
            if ranks.contains(where: { $0 >= 2 }) { elsewhere += 1 }
        }
        let slot = 8 * 5 + 4 * 256
        let crossed = records[0][0].physicalBytes[2] + records[0][0].physicalBytes[3]
        #expect(crossed == 64 + elsewhere * slot)
        #expect(records[0][0].logicalBytes == perRank.map { $0 * 1024 })
        #expect(records.allSatisfy { $0.map(\.kind) == [.dispatch, .combine] })
    }

    @Test func `a layout serves a second dispatch`() throws {
        let setup = try Self.exchange(nodes: nil)
        let same = try setup.onEveryRank { part in
            let group = part.group
            let layout = try group.layout(for: part.routing, in: setup.map, layer: 0)
            var results: [[Float]] = []
            for _ in 0 ..< 2 {
                let received = try group.dispatch(part.tokens, layout: layout).wait()
                let rows = Tensor(rows: received.rowCount, columns: setup.hidden)
                received.gather(into: rows)
                part.result.fill(0)
                try group.combine(rows, for: received).wait(addingInto: part.result)
                results.append(part.result.values)
            }
            return results[0] == results[1] && (part.rank == 1 || results[0].contains { $0 != 0 })
        }
        #expect(same == [true, true, true, true])
    }

    @Test func `rows written in place return without a copy`() throws {
        let setup = try Self.exchange(nodes: [0, 0, 1, 1])
        _ = try setup.onEveryRank { part in
            let (group, share, result) = (part.group, part.routing, part.result)
            let received = try group.dispatch(
                part.tokens, routing: share, in: setup.map, layer: 0
            ).wait()
            let row = Tensor(rows: 1, columns: setup.hidden)
            for index in 0 ..< received.tokenCount {
                let token = received.token(index)
                row.fill(Float(token.pairs.count))
                received.withOutput(of: index) { bytes in
                    RowCodec.float32.encode(row.row(0), into: &bytes)
                }
            }
            try group.combineWritten(received).wait(addingInto: result)
            for token in 0 ..< result.rows {
                let choices = share.expertIDs[token * 4 ..< token * 4 + 4].count { $0 >= 0 }
                #expect(result[token, 0] == Float(choices))
            }
        }
    }
}
