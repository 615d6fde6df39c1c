import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Collectives

@Suite struct TensorParallelTests {
    static let inputs = 40
    static let widths = [300, 70]

    static func group(
        _ fabric: any Fabric, sharers: Int = .max, limit: Duration = .seconds(30)
    ) throws -> TensorParallelGroup {
        var configuration = ExpertParallelConfiguration(
            mode: .lowLatency, hiddenSize: 16, topK: 1, maximumTokensPerRank: 4)
        configuration.limit = limit
        let experts = try ExpertParallelGroup(
            fabric: fabric, configuration: configuration,
            map: .contiguous(expertCount: 8, rankCount: fabric.rankCount))
        return try TensorParallelGroup(
            experts, inputs: inputs, outputs: widths.reduce(0, +), rowLimit: 8, sharers: sharers)
    }

    /// A whole number that its result, its column and the row's first and last value decide.
    static func value(_ row: Span<Float>, _ result: Int, _ column: Int) -> Float {
        row[0] + 3 * row[row.count - 1] + Float(1000 * result + column)
    }

    /// Some rows of one leader, on every rank of a node.
    static func run(
        _ group: TensorParallelGroup, count: Int, width: Int, granule: Int, leader: Rank,
        isLeader: Bool
    ) throws -> [Tensor] {
        let rows = Tensor(rows: isLeader ? count : 0, columns: width)
        for row in 0 ..< rows.rows {
            rows[row, 0] = Float(10_000 * (row + 1))
            rows[row, width - 1] = Float(row + count)
        }
        let results = widths.map { Tensor(rows: rows.rows, columns: $0) }
        let cut = OutputCut(widths: widths, granule: granule, ranks: group.count)
        try group.run(
            rows, width: width, into: results, cut, leader: leader, layer: 3
        ) { x, parts in
            for part in parts {
                for row in 0 ..< x.rows {
                    for (index, column) in part.piece.columns.enumerated() {
                        part.tensor[row, part.column + index] = value(
                            x.row(row), part.piece.result, column)
                    }
                }
            }
        }
        for row in 0 ..< rows.rows {
            for (number, result) in results.enumerated() {
                for column in 0 ..< result.columns
                where result[row, column] != value(rows.row(row), number, column) {
                    throw CollectivesError.shape("row", found: [row, number, column], expected: [])
                }
            }
        }
        return results
    }

    @Test(arguments: [[0, 0], [0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]], [1, 64, 256])
    func `a leader gets all outputs of its rows, from every rank of its node`(
        nodes: [Int], granule: Int
    ) throws {
        let found = try onRanks(nodes.count, nodes: nodes) { fabric in
            let group = try Self.group(fabric)
            #expect(group.isShared)
            let members = nodes.indices.filter { nodes[$0] == nodes[fabric.rank.rawValue] }
            var rows = 0
            for round in 0 ..< 40 {
                let leader = Rank(rawValue: members[round / 3 % members.count])
                let results = try Self.run(
                    group, count: 1 + round % 8, width: round % 2 == 0 ? Self.inputs : 7,
                    granule: granule, leader: leader, isLeader: leader == fabric.rank)
                rows += results[0].rows
            }
            return rows
        }
        // The counts of 40 rounds go around 1...8 five times.
        for node in Set(nodes) {
            let sum = zip(nodes, found).filter { $0.0 == node }.reduce(0) { $0 + $1.1 }
            #expect(sum == 5 * 36)
        }
    }

    @Test func `every column is computed once, and cuts fall on granules`() {
        for (ranks, granule) in [(1, 64), (2, 64), (3, 1), (4, 96), (16, 64)] {
            let cut = OutputCut(widths: [672, 64, 100], granule: granule, ranks: ranks)
            var next = [0, 0, 0]
            for piece in cut.pieces.joined() {
                #expect(piece.columns.lowerBound == next[piece.result])
                #expect(piece.columns.lowerBound % granule == 0 && !piece.columns.isEmpty)
                next[piece.result] = piece.columns.upperBound
            }
            #expect(next == [672, 64, 100])
            let widths = (0 ..< ranks).map(cut.width)
            #expect((widths.max() ?? 0) - (widths.min() ?? 0) <= 2 * granule + 100 % granule)
        }
    }

    @Test func `products are numbered beyond 32 bits, and grow`() {
        var before: UInt64 = 0
        for sequence: UInt64 in [1, 0xFFFF_FFFF, 1 << 32, 1 << 32 + 1, 1 << 48 - 1] {
            #expect(TensorParallelGroup.word(of: sequence, rows: 0) > before)
            for rows in [0, 1, 32, 0xFFFF] {
                before = TensorParallelGroup.word(of: sequence, rows: rows)
                let found = TensorParallelGroup.product(in: before)
                #expect(found.sequence == sequence && found.rows == rows)
            }
        }
    }

    @Test func `one rank that wants fewer sharers has all compute alone`() throws {
        let shared = try onRanks(4, nodes: [0, 0, 1, 1]) { fabric in
            try Self.group(fabric, sharers: fabric.rank == 1 ? 1 : 2).isShared
        }
        #expect(shared == [false, false, true, true])
    }

    @Test(arguments: [0, 1])
    func `a rank that does not come is named, with the layer`(present: Int) throws {
        let endings = try onRanksCatching(2) { fabric in
            let group = try Self.group(fabric, limit: .milliseconds(1500))
            guard fabric.rank.rawValue == present else { return }
            _ = try Self.run(
                group, count: 1, width: Self.inputs, granule: 64, leader: 0,
                isLeader: fabric.rank == 0)
        }
        guard case .failure(let error) = endings[present] else {
            Issue.record("rank \(present) multiplied alone")
            return
        }
        #expect("\(error)".contains("rank \(1 - present)"))
        #expect("\(error)".contains("layer 3"))
    }

    @Test(arguments: [0, 1])
    func `a rank that is lost ends the product of the others`(lost: Int) throws {
        let endings = try onRanksCatching(3) { fabric in
            let group = try Self.group(fabric)
            guard fabric.rank.rawValue != lost else { return fabric.vanish() }
            _ = try Self.run(
                group, count: 1, width: Self.inputs, granule: 64, leader: 0,
                isLeader: fabric.rank == 0)
            // What rank 2 computes may end before the loss is seen; the next product cannot.
            _ = try Self.run(
                group, count: 1, width: Self.inputs, granule: 64, leader: 0,
                isLeader: fabric.rank == 0)
        }
        for rank in 0 ..< 3 where rank != lost {
            guard case .failure(let error as TransportError) = endings[rank] else {
                Issue.record("rank \(rank) multiplied without rank \(lost)")
                continue
            }
            #expect("\(error)".contains("rank \(lost)"))
        }
    }
}
