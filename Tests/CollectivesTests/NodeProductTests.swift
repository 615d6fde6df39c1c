import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Collectives

@Suite struct NodeProductTests {
    static let inputs = 24
    static let outputs = 700

    /// A whole number that only its place and the row's first value decide.
    static func product(_ value: Float, _ output: Int) -> Float { value + Float(output % 251) }

    static func group(_ fabric: any Fabric, limit: Duration = .seconds(30)) throws
        -> ExpertParallelGroup
    {
        var configuration = ExpertParallelConfiguration(
            mode: .lowLatency, hiddenSize: 16, topK: 1, maximumTokensPerRank: 4)
        configuration.limit = limit
        return try ExpertParallelGroup(
            fabric: fabric, configuration: configuration,
            map: .contiguous(expertCount: 8, rankCount: fabric.rankCount))
    }

    static func multiply(
        _ product: NodeProduct, _ rows: Tensor, _ results: Tensor
    ) throws -> Bool {
        try product.run(rows, into: results) { all, part in
            for row in 0 ..< all.rows {
                for (column, output) in product.slices[product.place].enumerated() {
                    part[row, column] = Self.product(all[row, 0], output)
                }
            }
        }
    }

    /// Rows per rank and call.
    static let counts = [
        [1, 0, 3, 64], [0, 0, 0, 0], [0, 5, 0, 0], [2, 2, 2, 2], [0, 0, 0, 1],
    ]

    @Test(arguments: [
        ([0, 0], [0, 1]), ([0, 0, 0, 0], [0, 1, 2, 3]), ([0, 1, 0, 1], [0, 0, 1, 1]),
    ])
    func `every rank gets all outputs of its rows, from the slices of its node`(
        nodes: [Int], places: [Int]
    ) throws {
        let found = try onRanks(nodes.count, nodes: nodes) { fabric in
            let rank = fabric.rank.rawValue
            let product = try NodeProduct(
                try Self.group(fabric), inputs: Self.inputs, outputs: Self.outputs)
            #expect(product.slices.map(\.count).reduce(0, +) == Self.outputs)
            for round in 0 ..< 30 {
                let count = Self.counts[round % Self.counts.count][(rank + round / 7) % 4]
                let rows = Tensor(rows: count, columns: Self.inputs)
                for row in 0 ..< count { rows[row, 0] = Float(1000 * rank + 10 * row + round) }
                let results = Tensor(rows: count, columns: Self.outputs)
                guard try Self.multiply(product, rows, results) else { return -1 }
                for row in 0 ..< count {
                    let wanted = (0 ..< Self.outputs).map { Self.product(rows[row, 0], $0) }
                    guard
                        Array(results.values[row * Self.outputs ..< (row + 1) * Self.outputs])
                            == wanted
                    else { return 1000 + round }
                }
            }
            return product.place
        }
        #expect(found == places)
    }

    @Test func `with more rows than fit on some rank, each multiplies alone`() throws {
        let done = try onRanks(2) { fabric in
            let product = try NodeProduct(
                try Self.group(fabric), inputs: Self.inputs, outputs: Self.outputs)
            return try [NodeProduct.rowLimit + 1, 2].map { count in
                let rows = Tensor(rows: fabric.rank == 0 ? count : 1, columns: Self.inputs)
                let results = Tensor(rows: rows.rows, columns: Self.outputs)
                return try Self.multiply(product, rows, results)
            }
        }
        #expect(done == [[false, true], [false, true]])
    }

    @Test func `one rank that wants fewer sharers has all multiply alone`() throws {
        let shared = try onRanks(4, nodes: [0, 0, 1, 1]) { fabric in
            try NodeProduct(
                try Self.group(fabric), inputs: Self.inputs, outputs: Self.outputs,
                sharers: fabric.rank == 1 ? 1 : 2
            ).isShared
        }
        #expect(shared == [false, false, true, true])
    }

    @Test func `a rank that does not come is named`() throws {
        let endings = try onRanksCatching(2) { fabric in
            let product = try NodeProduct(
                try Self.group(fabric, limit: .milliseconds(1500)), inputs: Self.inputs,
                outputs: Self.outputs)
            guard fabric.rank == 0 else { return }
            _ = try Self.multiply(
                product, Tensor(rows: 1, columns: Self.inputs),
                Tensor(rows: 1, columns: Self.outputs))
        }
        guard case .failure(let error) = endings[0] else {
            Issue.record("rank 0 multiplied without rank 1")
            return
        }
        #expect("\(error)".contains("rank 1"))
    }
}
