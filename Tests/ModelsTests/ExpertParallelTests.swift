import Collectives
import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Models

/// The network over several ranks, each holding some of the experts.
@Suite struct ExpertParallelTests {
    /// The logits of a prompt, one chunk of 7 and then the rest, on every rank.
    ///
    /// - Parameter idle: Ranks that have no tokens of their own and take part with none.
    private func logits(
        ranks: Int, compute: Compute, idle: Set<Int> = [], twoBatches: Bool = false,
        map: ExpertMap? = nil
    ) throws -> [[Float]] {
        let folder = compute == .float32 ? "T-f32" : "T-fp8"
        let golden = try Golden(folder)
        let tokens = try golden.expected().integers("p2.input_ids")
        return try onRanks(ranks) { fabric in
            let configuration = golden.configuration
            let map = try map ?? configuration.expertMap(rankCount: ranks)
            let group = try ExpertParallelGroup(
                fabric: fabric,
                configuration: configuration.expertParallel(
                    maximumTokensPerRank: 128, compute: compute), map: map)
            let model = try Model(
                golden.checkpoint, configuration: configuration,
                options: ModelOptions(compute: compute), pool: ThreadPool(threads: 1),
                shared: SharedExperts(group, map))
            return try Self.run(
                model, tokens, golden.cache(), isIdle: idle.contains(fabric.rank.rawValue),
                twoBatches: twoBatches)
        }
    }

    private static func run(
        _ model: Model, _ tokens: [Int], _ cache: BlockCache, isIdle: Bool, twoBatches: Bool
    ) throws -> [Float] {
        let first = cache.blocks(tokens: tokens.count)
        let second = cache.blocks(tokens: tokens.count, from: first.count)
        var logits: [Float] = []
        for range in [0 ..< 7, 7 ..< tokens.count] {
            func chunks(_ blocks: [BlockID]) -> [SequenceChunk] {
                guard !isIdle else { return [] }
                return [
                    SequenceChunk(
                        tokens: Array(tokens[range]), position: range.lowerBound, blocks: blocks,
                        wanted: .all)
                ]
            }
            if twoBatches {
                let (a, b) = try model.forward(chunks(first), chunks(second), cache: cache)
                #expect(a.logits.values == b.logits.values)
                logits += a.logits.values
            } else {
                logits += try model.forward(chunks(first), cache: cache).logits.values
            }
        }
        return logits
    }

    /// What one rank without a group computes.
    private func alone(_ compute: Compute) throws -> [Float] {
        let golden = try Golden(compute == .float32 ? "T-f32" : "T-fp8")
        return try Self.run(
            golden.model(compute: compute, threads: 1),
            golden.expected().integers("p2.input_ids"), golden.cache(), isIdle: false,
            twoBatches: false)
    }

    @Test(arguments: [1, 2, 3], Compute.allCases)
    func `any number of ranks gives the bits of one`(ranks: Int, compute: Compute) throws {
        let expected = try alone(compute)
        for result in try logits(ranks: ranks, compute: compute) { #expect(result == expected) }
    }

    @Test func `a rank without tokens takes part`() throws {
        let expected = try alone(.float32)
        let results = try logits(ranks: 3, compute: .float32, idle: [1])
        #expect(results[0] == expected && results[1].isEmpty && results[2] == expected)
    }

    @Test(arguments: [1, 2])
    func `two interleaved batches give the bits of one`(ranks: Int) throws {
        let expected = try alone(.float32)
        for result in try logits(ranks: ranks, compute: .float32, twoBatches: true) {
            #expect(result == expected)
        }
    }

    @Test func `other places and second copies in each layer give the bits of one rank`() throws {
        let configuration = try Golden("T-f32").configuration
        let experts = configuration.routedExpertCount
        let layers = configuration.layerCount + configuration.mtpLayerCount
        // Layer n gives rank r the experts e with (e + n) % 3 == r, and a second copy of expert n.
        let placements = try (0 ..< layers).map { layer in
            try ExpertPlacement(
                expertCount: experts,
                expertsByRank: (0 ..< 3).map { rank in
                    let copied = rank == 2 * layer % 3 ? [] : [layer % experts]
                    return ((0 ..< experts).filter { ($0 + layer) % 3 == rank } + copied)
                        .reduce(into: [ExpertID]()) {
                            let expert = ExpertID(rawValue: $1)
                            if !$0.contains(expert) { $0.append(expert) }
                        }
                })
        }
        let expected = try alone(.float32)
        let map = try ExpertMap(placements: placements, spareSlotsPerRank: 2)
        for result in try logits(ranks: 3, compute: .float32, map: map) {
            #expect(result == expected)
        }
    }

    @Test func `a rank reads only its own experts`() throws {
        let golden = try Golden("T-f32")
        let configuration = golden.configuration
        let bytes = try onRanks(2) { fabric in
            let map = try configuration.expertMap(rankCount: 2)
            let group = try ExpertParallelGroup(
                fabric: fabric,
                configuration: configuration.expertParallel(
                    maximumTokensPerRank: 8, compute: .float32), map: map)
            return try Model(
                golden.checkpoint, configuration: configuration, pool: ThreadPool(threads: 1),
                shared: SharedExperts(group, map)
            ).weightByteCount
        }
        let all = try golden.model().weightByteCount
        // Half of 16 experts, in the three main layers that have them and the MTP block.
        let half = 4 * 8 * configuration.expertParameterCount * 4
        #expect(bytes == [all - half, all - half])
    }
}
