import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Collectives

@Suite struct GroupTests {
    static func values(_ rank: Int, _ count: Int) -> [Float] {
        (0 ..< count).map { Float(($0 * 31 + rank * 7) % 97) - 48 }
    }

    @Test(arguments: [nil, [0, 0, 0], [0, 1, 2], [0, 0, 1]] as [[Int]?])
    func `an all-reduce leaves the sum on every rank`(nodes: [Int]?) throws {
        // More than two chunks, and a ragged end.
        let count = 3 * 512 + 77
        let expected = (0 ..< count).map { index in
            (0 ..< 3).reduce(Float(0)) { $0 + Self.values($1, count)[index] }
        }
        let all = try onRanks(3, nodes: nodes) { fabric in
            let reducer = try Reducer(fabric: fabric, chunkCount: 512)
            var results: [[Float]] = []
            for codec in [RowCodec.float32, .bfloat16] {
                let tensor = Tensor(
                    rows: 1, columns: count, values: Self.values(fabric.rank.rawValue, count))
                try reducer.allReduce(tensor, codec: codec)
                results.append(tensor.values)
            }
            return results
        }
        // Every value and sum is a whole number below 256: bf16 holds it exactly.
        for results in all { #expect(results == [expected, expected]) }
    }

    @Test(arguments: [nil, [0, 1, 1]] as [[Int]?])
    func `gathered rows lie in rank order`(
        nodes: [Int]?
    ) throws {
        _ = try onRanks(3, nodes: nodes) { fabric in
            let rank = fabric.rank.rawValue
            let reducer = try Reducer(fabric: fabric, chunkCount: 256)
            let mine = Tensor(rows: 5, columns: 40, values: Self.values(rank, 200))
            let all = Tensor(rows: 15, columns: 40)
            try reducer.allGather(mine, into: all)
            #expect(all.values == (0 ..< 3).flatMap { Self.values($0, 200) })
        }
    }

    @Test(arguments: [nil, [0, 1, 1]] as [[Int]?])
    func `gathered numbers keep every bit`(nodes: [Int]?) throws {
        // More than one chunk holds, and values that no three floats add up to.
        let values = (0 ..< 300).map { 1e300 / Double($0 + 1) } + [0x1p-1074, -.infinity, -0.0]
        let all = try onRanks(3, nodes: nodes) { fabric in
            let reducer = try Reducer(fabric: fabric, chunkCount: 256)
            return try reducer.allGather(values.map { $0 * Double(fabric.rank.rawValue + 1) })
        }
        let expected = (1 ... 3).map { rank in
            values.map { ($0 * Double(rank)).bitPattern }
        }
        for gathered in all { #expect(gathered.map { $0.map(\.bitPattern) } == expected) }
    }

    @Test(arguments: [nil, [0, 1]] as [[Int]?])
    func `messages of a channel arrive in order while channels overtake each other`(
        nodes: [Int]?
    ) throws {
        _ = try onRanks(2, nodes: nodes) { fabric in
            let channels = try Channels(fabric: fabric, slotCount: 3, maximumCount: 64)
            let other: Rank = fabric.rank == 0 ? 1 : 0
            let tensor = Tensor(rows: 4, columns: 16)
            for round in 0 ..< 10 {
                for message in 0 ..< 3 {
                    tensor.fill(Float(round * 10 + message))
                    try channels.send(tensor, to: other, channel: 0)
                }
                tensor.fill(-1)
                try channels.send(tensor, to: other, channel: 1, codec: .bfloat16)
                try channels.receive(into: tensor, from: other, channel: 1, codec: .bfloat16)
                #expect(tensor[3, 15] == -1)
                for message in 0 ..< 3 {
                    try channels.receive(into: tensor, from: other, channel: 0)
                    #expect(tensor[3, 15] == Float(round * 10 + message))
                }
            }
            #expect(!channels.hasArrived(from: other))
            try fabric.barrier(deadline: Deadline(.seconds(10), "leave"))
        }
    }

    @Test func `a message of another shape is refused`() throws {
        _ = try onRanks(1) { fabric in
            let channels = try Channels(fabric: fabric, maximumCount: 64)
            try channels.send(Tensor(rows: 2, columns: 8), to: 0)
            #expect(throws: CollectivesError.self) {
                try channels.receive(into: Tensor(rows: 1, columns: 8), from: 0)
            }
            #expect(throws: CollectivesError.self) {
                try channels.send(Tensor(rows: 9, columns: 8), to: 0)
            }
        }
    }
}
