import Collectives
import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Models

/// Attention and dense products of one rank's rows on all ranks of its node.
@Suite struct SharedProductsTests {
    /// The prompt in chunks: of several rows, of one, and of more than are shared.
    private static func chunks(of count: Int) -> [Range<Int>] {
        var ranges = [0 ..< 7, 7 ..< 8, 8 ..< 9]
        while let last = ranges.last, last.upperBound < count {
            ranges.append(last.upperBound ..< min(count, last.upperBound + 5))
        }
        return ranges
    }

    private static func run(
        _ model: Model, _ tokens: [Int], _ cache: BlockCache,
        leader: (Int) -> (rank: Rank?, isIdle: Bool)
    ) throws -> [Float] {
        let blocks = cache.blocks(tokens: tokens.count)
        var logits: [Float] = []
        for (number, range) in chunks(of: tokens.count).enumerated() {
            let (rank, isIdle) = leader(number)
            let chunk = SequenceChunk(
                tokens: Array(tokens[range]), position: range.lowerBound, blocks: blocks,
                wanted: .all)
            let result = try model.forward(
                isIdle ? [] : [chunk], cache: cache, keepsHidden: true, leader: rank)
            logits += result.logits.values + (result.hidden?.values ?? [])
        }
        return logits
    }

    private static func logits(
        _ folder: String, ranks: Int, nodes: [Int]? = nil, compute: Compute, sharedRows: Int
    ) throws -> [[Float]] {
        let golden = try Golden(folder)
        let tokens = try golden.expected().integers("p2.input_ids")
        return try onRanks(ranks, nodes: nodes) { fabric in
            let configuration = golden.configuration
            let map = try configuration.expertMap(rankCount: ranks)
            let group = try ExpertParallelGroup(
                fabric: fabric,
                configuration: configuration.expertParallel(
                    maximumTokensPerRank: 128, compute: compute), map: map)
            var options = ModelOptions(compute: compute)
            options.sharedRows = sharedRows
            options.sharedHeadBytes = 0
            let model = try Model(
                golden.checkpoint, configuration: configuration, options: options,
                pool: ThreadPool(threads: 1), shared: SharedExperts(group, map))
            #expect(model.sharedRows == sharedRows)
            let own = nodes?[fabric.rank.rawValue] ?? 0
            let first = nodes?.firstIndex(of: own) ?? 0
            let cache = golden.cache()
            return try run(model, tokens, cache) { _ in
                (sharedRows > 0 ? Rank(rawValue: first) : nil, fabric.rank.rawValue != first)
            }
        }
    }

    private static func alone(_ folder: String, _ compute: Compute) throws -> [Float] {
        let golden = try Golden(folder)
        return try run(
            golden.model(compute: compute, threads: 1),
            golden.expected().integers("p2.input_ids"), golden.cache()
        ) { _ in (nil, false) }
    }

    @Test(arguments: [("T-f32", Compute.float32), ("T-fp8", .bfloat16), ("T-bf16", .bfloat16)])
    func `a node computes one rank's rows with the bits of that rank alone`(
        folder: String, compute: Compute
    ) throws {
        let expected = try Self.alone(folder, compute)
        for ranks in [2, 3, 4] {
            for sharedRows in [0, 7] {
                let results = try Self.logits(
                    folder, ranks: ranks, compute: compute, sharedRows: sharedRows)
                #expect(results[0] == expected, "\(ranks) ranks, sharedRows \(sharedRows)")
                #expect(results.dropFirst().allSatisfy { $0.isEmpty })
            }
        }
    }

    @Test func `two nodes compute the rows of two leaders`() throws {
        let expected = try Self.alone("T-f32", .float32)
        let results = try Self.logits(
            "T-f32", ranks: 4, nodes: [0, 0, 1, 1], compute: .float32, sharedRows: 7)
        #expect(results[0] == expected && results[2] == expected)
        #expect(results[1].isEmpty && results[3].isEmpty)
    }

    @Test func `leaders take turns, and each keeps its own cache`() throws {
        let golden = try Golden("T-f32")
        let tokens = try golden.expected().integers("p2.input_ids")
        let expected = try Self.alone("T-f32", .float32)
        let results = try onRanks(2) { fabric in
            let configuration = golden.configuration
            let map = try configuration.expertMap(rankCount: 2)
            let group = try ExpertParallelGroup(
                fabric: fabric,
                configuration: configuration.expertParallel(
                    maximumTokensPerRank: 128, compute: .float32), map: map)
            var options = ModelOptions(compute: .float32)
            options.sharedRows = 7
            let model = try Model(
                golden.checkpoint, configuration: configuration, options: options,
                pool: ThreadPool(threads: 1), shared: SharedExperts(group, map))
            // Rank 0 computes its text first, then rank 1 the same text; between them both leave
            // the node for one step in which nobody leads.
            let cache = golden.cache()
            var logits: [Float] = []
            for turn in 0 ..< 2 {
                logits += try Self.run(model, tokens, cache) { _ in
                    (Rank(rawValue: turn), fabric.rank.rawValue != turn)
                }
                _ = try model.forward([], cache: cache)
            }
            return logits
        }
        #expect(results[0] == expected && results[1] == expected)
    }

    @Test func `rows beyond the limit, or of a rank that helps, are refused by name`() throws {
        let golden = try Golden("T-f32")
        let model = try golden.model()
        let cache = golden.cache()
        let chunk = SequenceChunk(tokens: [5], position: 0, blocks: cache.blocks(tokens: 1))
        let error = #expect(throws: ModelError.self) {
            try model.forward([chunk], cache: cache, leader: 0)
        }
        #expect(error.map { "\($0)" }?.contains("sharedRows") == true)
    }
}
