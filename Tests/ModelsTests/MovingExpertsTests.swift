import Collectives
import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Models

/// A model whose experts move between ranks while it is in use.
@Suite struct MovingExpertsTests {
    private let golden: Golden
    private let tokens: [Int]

    init() throws {
        golden = try Golden("T-f32")
        tokens = try golden.expected().integers("p2.input_ids")
    }

    private func logits(_ model: Model) throws -> [Float] {
        let cache = golden.cache()
        let chunk = SequenceChunk(
            tokens: tokens, position: 0, blocks: cache.blocks(tokens: tokens.count), wanted: .all)
        let result = try model.forward([chunk], cache: cache, keepsHidden: true)
        let hidden = try #require(result.hidden)
        let next = SequenceChunk(
            tokens: Array(tokens.dropFirst()) + [tokens[0]], position: 0, blocks: chunk.blocks,
            wanted: .all)
        let draft = try model.draft([next], hidden: hidden, cache: cache)
        return result.logits.values + draft.logits.values
    }

    private func shared(
        _ fabric: any Fabric, living: [Rank], epoch: UInt64,
        placements: [ExpertPlacement]? = nil
    ) throws -> SharedExperts? {
        guard living.count > 1 else { return nil }
        let shape = golden.configuration
        let map = try ExpertMap.remaining(
            of: placements ?? shape.expertPlacements(rankCount: 3), living: living, epoch: epoch)
        let group = try ExpertParallelGroup(
            fabric: fabric,
            configuration: shape.expertParallel(maximumTokensPerRank: 128, compute: .float32),
            map: map)
        return SharedExperts(group, map)
    }

    private func model(_ shared: SharedExperts?, _ options: ModelOptions) throws -> Model {
        try Model(
            golden.checkpoint, configuration: golden.configuration, options: options,
            pool: ThreadPool(threads: 1), shared: shared)
    }

    /// Three ranks, then without rank 1, then rank 2 alone, then all three, where rank 0 and rank 1
    /// read their share before they meet the others.
    @Test(arguments: [false, true], [1 << 40, 0])
    func `ranks that go and come leave the bits of one rank`(
        copiesDrafts: Bool, sharedHeadBytes: Int
    ) throws {
        var options = ModelOptions(compute: .float32)
        options.copiesDraftExperts = copiesDrafts
        options.sharedHeadBytes = sharedHeadBytes
        let chosen = options
        let expected = try logits(golden.model(compute: .float32, threads: 1))
        let second = try makeLoopbackFabrics(rankCount: 2)
        let last = try makeLoopbackFabrics(rankCount: 3)
        defer { for fabric in second + last { fabric.close() } }
        let results = try onRanks(3) { fabric -> [[Float]] in
            let rank = fabric.rank
            let first = try model(shared(fabric, living: [0, 1, 2], epoch: 1), chosen)
            var results = [try logits(first)]
            var present = first
            if rank != 1 {
                let place = second[rank == 0 ? 0 : 1]
                try present.share(
                    shared(place, living: [0, 2], epoch: 2), from: golden.checkpoint)
                results.append(try logits(present))
            }
            if rank == 2 {
                try present.share(nil, from: golden.checkpoint)
                results.append(try logits(present))
            } else {
                let map = try ExpertMap.remaining(
                    of: golden.configuration.expertPlacements(rankCount: 3),
                    living: [0, 1, 2], epoch: 4)
                present = try Model(
                    golden.checkpoint, configuration: golden.configuration, options: chosen,
                    pool: ThreadPool(threads: 1), share: (map, rank))
            }
            try present.share(
                shared(last[rank.rawValue], living: [0, 1, 2], epoch: 4),
                from: golden.checkpoint)
            return results + [try logits(present)]
        }
        #expect(results.map(\.count) == [3, 2, 4])
        for (rank, texts) in results.enumerated() {
            for (epoch, text) in texts.enumerated() {
                #expect(text == expected, "rank \(rank), result \(epoch)")
            }
        }
    }

    /// Two ranks with redundant copies, then with other copies, then one without the other.
    @Test(arguments: [false, true])
    func `experts that were fetched before give the bits of those that are read`(
        copiesDrafts: Bool
    ) throws {
        var options = ModelOptions(compute: .float32)
        options.copiesDraftExperts = copiesDrafts
        let chosen = options
        let shape = golden.configuration
        let expected = try logits(golden.model(compute: .float32, threads: 1))
        let fabrics = try makeLoopbackFabrics(rankCount: 3)
        defer { for fabric in fabrics { fabric.close() } }
        let first = try shape.expertPlacements(rankCount: 3, redundantExperts: 6)
        // Every rank holds what the next one held.
        let turned = try first.map {
            try ExpertPlacement(
                expertCount: $0.expertCount,
                expertsByRank: Array($0.expertsByRank[1...] + $0.expertsByRank[..<1]))
        }
        let results = try onRanks(3) { fabric -> [[Float]] in
            let rank = fabric.rank
            let all: [Rank] = [0, 1, 2]
            let model = try model(
                shared(fabric, living: all, epoch: 1, placements: first), chosen)
            var results = [try logits(model)]
            let next = try shared(
                fabrics[rank.rawValue], living: all, epoch: 2, placements: turned)
            let held = try ExpertMap.remaining(of: first, living: all, epoch: 1)
            let wanted = try ExpertMap.remaining(of: turned, living: all, epoch: 2)
            func fetch(_ isWanted: Bool) throws -> FetchedExperts? {
                try FetchedExperts(
                    golden.checkpoint, configuration: shape, options: chosen,
                    held: (held, rank), wanted: (wanted, rank), pool: ThreadPool(threads: 1),
                    isWanted: { isWanted })
            }
            #expect(try fetch(false) == nil)
            let fetched = try #require(try fetch(true))
            #expect(fetched.byteCount > 0)
            let before = model.weightByteCount
            try model.share(next, fetched: fetched, from: golden.checkpoint)
            // Nothing was left to read at the switch.
            #expect(model.weightByteCount == before + fetched.byteCount)
            results.append(try logits(model))
            return results
        }
        for texts in results { for text in texts { #expect(text == expected) } }
    }

    @Test func `what the gates choose is counted, layer by layer, where experts are shared`()
        throws
    {
        let shape = golden.configuration
        let counts = try onRanks(2) { fabric -> ExpertCounts? in
            let map = try shape.expertMap(rankCount: 2)
            let group = try ExpertParallelGroup(
                fabric: fabric,
                configuration: shape.expertParallel(maximumTokensPerRank: 128, compute: .float32),
                map: map)
            let model = try model(SharedExperts(group, map), ModelOptions(compute: .float32))
            var chosen: [[Int32]] = []
            model.probe = { probe in
                if case .gate(_, _, let experts, _) = probe { chosen.append(experts) }
            }
            _ = try logits(model)
            let counts = try #require(model.expertCounter.take())
            var layer = 0
            for experts in chosen {
                while !shape.hasExperts(layer: layer) { layer += 1 }
                for expert in 0 ..< shape.routedExpertCount {
                    let count = experts.count { $0 == Int32(expert) }
                    #expect(counts[layer, expert] == UInt32(count), "layer \(layer)")
                }
                layer += 1
            }
            #expect(layer == counts.layerCount)
            #expect(model.expertCounter.take() == nil)
            return counts
        }
        #expect(counts[0] == counts[1])
    }

    /// Three ranks that hold all experts, then two of them, then one.
    @Test func `a head that is cut anew takes the memory that was said before`() throws {
        let golden = try Golden("T-bf16")
        let shape = golden.configuration
        var options = ModelOptions(compute: .float32)
        options.sharedHeadBytes = 0
        options.nodeSharers = 3
        let chosen = options
        func said(held: Int, wanted: Int) throws -> Int {
            try Model.recutHeadBytes(
                golden.checkpoint, shape, chosen, held: held, wanted: wanted)
        }
        let fabrics = try makeLoopbackFabrics(rankCount: 2)
        defer { for fabric in fabrics { fabric.close() } }
        let placements = try shape.expertPlacements(
            rankCount: 3, redundantExperts: 2 * shape.routedExpertCount)
        let sizes = try onRanks(3) { fabric -> [Int] in
            let model = try Model(
                golden.checkpoint, configuration: shape, options: chosen,
                pool: ThreadPool(threads: 1),
                shared: shared(fabric, living: [0, 1, 2], epoch: 1, placements: placements))
            guard fabric.rank != 1 else { return [] }
            let whole = model.weightByteCount
            try model.share(
                shared(
                    fabrics[fabric.rank == 0 ? 0 : 1], living: [0, 2], epoch: 2,
                    placements: placements), from: golden.checkpoint)
            let recut = model.weightByteCount
            try model.share(nil, from: golden.checkpoint)
            return [recut - whole, model.weightByteCount - recut, WeightCount(model.head).bytes]
        }
        for rank in [0, 2] {
            #expect(sizes[rank][...1] == [shape.headByteCount, 0])
            #expect(try sizes[rank][2] == said(held: 3, wanted: 2))
        }
        for (held, wanted) in [(2, 2), (2, 1), (3, 4)] {
            #expect(try said(held: held, wanted: wanted) == 0, "\(held) to \(wanted)")
        }
    }

    @Test func `only experts that come are read, and those that go are let go`() throws {
        let bytes = try onRanks(2) { fabric -> [Int] in
            let shape = golden.configuration
            let map = try shape.expertMap(rankCount: 2)
            let group = try ExpertParallelGroup(
                fabric: fabric,
                configuration: shape.expertParallel(maximumTokensPerRank: 8, compute: .float32),
                map: map)
            let whole = SharedExperts(group, map)
            let model = try model(whole, ModelOptions(compute: .float32))
            var counts = [model.weightByteCount, model.packedByteCount]
            try model.share(nil, from: golden.checkpoint)
            counts += [model.weightByteCount, model.packedByteCount]
            try model.share(whole, from: golden.checkpoint)
            return counts + [model.weightByteCount, model.packedByteCount]
        }
        // Half of 16 experts, in the three main layers that have them and the MTP block.
        let half = 4 * 8 * golden.configuration.expertParameterCount * 4
        for counts in bytes {
            #expect(counts[2] == counts[0] + half)
            #expect(counts[3] > counts[1])
            #expect(counts[4...] == [counts[2], counts[1]])
        }
    }
}
