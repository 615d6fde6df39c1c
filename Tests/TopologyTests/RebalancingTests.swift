import Encoding
import Testing
import Topology

/// Better placements, and what it takes to get there.
@Suite struct RebalancingTests {
    /// Tokens of each expert by Zipf's law with exponent 1, in an order that the seed chooses.
    static func zipf(_ experts: Int, seed: UInt64) -> [Double] {
        var random = SplitMix64(seed: seed)
        return (1 ... experts).map { 1e6 / Double($0) }.shuffled(using: &random)
    }

    static func contiguous(
        _ experts: Int, ranks: Int, more: Int, layers: Int = 1
    ) throws -> (placements: [ExpertPlacement], slots: [Int]) {
        let placement = try ExpertPlacement.contiguous(
            expertCount: experts, rankCount: ranks, redundantCount: more)
        return (
            Array(repeating: placement, count: layers), placement.expertsByRank.map(\.count)
        )
    }

    @Test(arguments: [16, 64, 256], 0 ..< UInt64(20))
    func `one rebalancing with a quarter more slots brings Zipf's law on 4 ranks to 1.05`(
        experts: Int, seed: UInt64
    ) throws {
        let (placements, slots) = try Self.contiguous(experts, ranks: 4, more: experts / 4)
        let loads = [Self.zipf(experts, seed: seed)]
        let result = try Rebalancing.balanced(from: placements, loads: loads, slots: slots)
        #expect(result.after <= 1.05, "seed \(seed): \(result.before) to \(result.after)")
        #expect(result.after == Rebalancing.imbalance(of: result.placements, loads: loads))
        for (rank, held) in result.placements[0].expertsByRank.enumerated() {
            #expect(held.count <= slots[rank])
        }
    }

    @Test(arguments: 0 ..< UInt64(20))
    func `after a drift of 5% few moves come as near as EPLB does with all`(seed: UInt64) throws {
        let experts = 256
        let (placements, slots) = try Self.contiguous(experts, ranks: 8, more: 64, layers: 2)
        let loads = [Self.zipf(experts, seed: seed), Self.zipf(experts, seed: seed + 1000)]
        let settled = try Rebalancing.balanced(from: placements, loads: loads, slots: slots)
        var random = SplitMix64(seed: seed)
        let drifted = loads.map {
            $0.map { $0 * Double.random(in: 0.95 ... 1.05, using: &random) }
        }
        let whole = try Rebalancing.balanced(
            from: settled.placements, loads: drifted, slots: slots)
        let few = try Rebalancing.bounded(
            from: settled.placements, loads: drifted, slots: slots,
            maximumMoves: experts * 2 / 4)
        #expect(few.after <= whole.after * 1.02, "seed \(seed): \(few.after), \(whole.after)")
        #expect(few.moves.count <= experts * 2 / 4)
    }

    @Test(arguments: 0 ..< UInt64(100))
    func `moves lead from one placement to the other, within the slots and the bound`(
        seed: UInt64
    ) throws {
        var random = SplitMix64(seed: seed)
        let ranks = Int.random(in: 1 ... 9, using: &random)
        let experts = Int.random(in: ranks ... 40, using: &random)
        let most = min(experts * (ranks - 1), 20)
        let (placements, slots) = try Self.contiguous(
            experts, ranks: ranks, more: Int.random(in: 0 ... most, using: &random), layers: 3)
        let loads = placements.map { _ in
            (0 ..< experts).map { _ in Double(Int.random(in: 0 ... 100, using: &random)) }
        }
        let bound = Int.random(in: 0 ... 12, using: &random)
        let whole = try Rebalancing.balanced(from: placements, loads: loads, slots: slots)
        let few = try Rebalancing.bounded(
            from: placements, loads: loads, slots: slots, maximumMoves: bound)
        let layers = try Rebalancing.balanced(
            from: placements, loads: loads, slots: slots, maximumMoves: bound)
        #expect(few.moves.count <= bound && layers.moves.count <= bound)
        for result in [whole, few, layers] {
            #expect(result.after <= result.before + 1e-9)
            let found = Rebalancing.imbalance(of: result.placements, loads: loads)
            #expect(abs(found - result.after) < 1e-9)
            var sets = placements.map { $0.expertsByRank.map { Set($0) } }
            for move in result.moves {
                let rank = move.rank.rawValue
                #expect(sets[move.layer][rank].insert(move.expert).inserted)
                if let gone = move.instead { sets[move.layer][rank].remove(gone) }
            }
            for layer in placements.indices {
                for (rank, held) in result.placements[layer].expertsByRank.enumerated() {
                    #expect(held.count <= slots[rank])
                    #expect(sets[layer][rank].isSuperset(of: held))
                }
            }
        }
    }

    @Test func `each step of the bounded mode buys something, the dearest first`() throws {
        let (placements, slots) = try Self.contiguous(8, ranks: 2, more: 2)
        let loads: [[Double]] = [[4, 80, 40, 20, 1, 1, 1, 1]]
        let result = try Rebalancing.bounded(
            from: placements, loads: loads, slots: slots, maximumMoves: 4)
        #expect(result.before > 1.4)
        let values = [result.before] + result.moves.map(\.imbalance)
        // Shares are whole numbers of 65,536.
        for (before, after) in zip(values, values.dropFirst()) { #expect(after <= before + 1e-4) }
        let first = try #require(result.moves.first)
        // Expert 0 has a copy on each rank already; one of expert 1 can take half of all tokens.
        #expect(first.expert == 1 && first.rank == 1)
        #expect(result.moves.last?.imbalance == result.after)
    }

    @Test func `where other shares of the copies are enough no expert moves`() throws {
        let (placements, slots) = try Self.contiguous(8, ranks: 2, more: 2)
        let loads: [[Double]] = [[80, 40, 20, 10, 1, 1, 1, 1]]
        for result in [
            try Rebalancing.balanced(from: placements, loads: loads, slots: slots),
            try Rebalancing.bounded(
                from: placements, loads: loads, slots: slots, maximumMoves: 4),
        ] {
            #expect(result.before > 1.4 && result.after < 1.001 && result.moves.isEmpty)
            #expect(result.placements[0].expertsByRank == placements[0].expertsByRank)
        }
    }

    @Test func `a layer without load, and one that would gain nothing, stay as they are`() throws {
        let (placements, slots) = try Self.contiguous(8, ranks: 4, more: 4, layers: 2)
        let loads = [[Double](repeating: 0, count: 8), [Double](repeating: 3, count: 8)]
        let result = try Rebalancing.balanced(from: placements, loads: loads, slots: slots)
        #expect(result.placements == placements && result.moves.isEmpty)
        #expect(result.before == 1 && result.after == 1)
    }

    @Test func `loads of another model, and loads that are no numbers, are refused`() throws {
        let (placements, slots) = try Self.contiguous(4, ranks: 2, more: 0)
        let wrong: [[[Double]]] = [
            [], [[1, 2, 3]], [[1, 2, .nan, 4]], [[1, 2, -1, 4]], [[1, 2, .infinity, 4]],
        ]
        for loads in wrong {
            #expect(throws: TopologyError.self) {
                try Rebalancing.balanced(from: placements, loads: loads, slots: slots)
            }
        }
        #expect(throws: TopologyError.self) {
            try Rebalancing.balanced(from: placements, loads: [[1, 2, 3, 4]], slots: [2, 1])
        }
    }

    /// The time stands in the output alone: machines differ.
    @Test func `58 layers of 256 experts are solved`() throws {
        let (placements, slots) = try Self.contiguous(256, ranks: 32, more: 32, layers: 58)
        let loads = (0 ..< UInt64(58)).map { Self.zipf(256, seed: $0) }
        let start = ContinuousClock.now
        let result = try Rebalancing.balanced(from: placements, loads: loads, slots: slots)
        print("58 layers of 256 experts on 32 ranks: \(ContinuousClock.now - start)")
        #expect(result.after < result.before)
    }
}
