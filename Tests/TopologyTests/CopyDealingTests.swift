import Encoding
import Testing
import Topology

/// Tokens dealt between the copies of experts.
@Suite struct CopyDealingTests {
    /// The least that the busiest rank can have: some set of ranks must take all tokens of the
    /// experts that no other rank holds.
    static func bound(_ placement: ExpertPlacement, _ loads: [Double]) -> Double {
        var holders = [Int](repeating: 0, count: loads.count)
        for (rank, experts) in placement.expertsByRank.enumerated() {
            for expert in experts { holders[expert.rawValue] |= 1 << rank }
        }
        return (1 ..< 1 << placement.rankCount).map { ranks in
            let sum = loads.indices.filter { holders[$0] & ~ranks == 0 }
                .reduce(0) { $0 + loads[$1] }
            return sum / Double(ranks.nonzeroBitCount)
        }.max() ?? 0
    }

    static func random(_ seed: UInt64) throws -> (ExpertPlacement, [Double]) {
        var random = SplitMix64(seed: seed)
        let ranks = Int.random(in: 2 ... 6, using: &random)
        let experts = Int.random(in: ranks ... 24, using: &random)
        var held = (0 ..< ranks).map { _ in Set<ExpertID>() }
        for expert in 0 ..< experts {
            for _ in 0 ..< Int.random(in: 1 ... 3, using: &random) {
                held[Int.random(in: 0 ..< ranks, using: &random)].insert(
                    ExpertID(rawValue: expert))
            }
        }
        let loads = (0 ..< experts).map { _ in
            Double(Int.random(in: 0 ... 1000, using: &random))
        }
        return (
            try ExpertPlacement(expertCount: experts, expertsByRank: held.map { $0.sorted() }),
            loads
        )
    }

    @Test(arguments: 0 ..< UInt64(300))
    func `no way to deal leaves the busiest rank less`(seed: UInt64) throws {
        let (placement, loads) = try Self.random(seed)
        let dealt = try placement.dealt(loads: loads)
        let highest = Rebalancing.rankLoads(of: [dealt], loads: [loads]).max() ?? 0
        let bound = Self.bound(placement, loads)
        #expect(highest >= bound * (1 - 1e-3) && highest <= bound * 1.005, "seed \(seed)")
        #expect(dealt.expertsByRank == placement.expertsByRank)
    }

    /// Max over mean of the tokens that arrive when every rank sends choices by `loads`.
    static func counted(
        _ placement: ExpertPlacement, _ loads: [Double], nodes: [NodeID], seed: UInt64
    ) throws -> Double {
        let map = try ExpertMap(placements: [placement])
        var random = SplitMix64(seed: seed)
        let sum = loads.reduce(0, +)
        var arrived = [Double](repeating: 0, count: placement.rankCount)
        for source in 0 ..< placement.rankCount {
            let chooser = map.copies(for: Rank(rawValue: source), layer: 0, nodes: nodes)
            for step in 0 ..< 2000 {
                for token in 0 ..< 1 + step % 16 {
                    var place = Double.random(in: 0 ..< sum, using: &random)
                    let expert = loads.firstIndex { load in
                        place -= load
                        return place < 0
                    }
                    let copy = chooser.copy(of: ExpertID(rawValue: expert ?? 0), token: token)
                    #expect(
                        placement.experts(on: copy.rank)[copy.localIndex].rawValue == expert ?? 0)
                    arrived[copy.rank.rawValue] += 1
                }
            }
        }
        return (arrived.max() ?? 0) * Double(arrived.count) / arrived.reduce(0, +)
    }

    @Test(arguments: [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]], 0 ..< UInt64(4))
    func `tokens arrive as they are dealt, wherever ranks are`(
        nodes: [Int], seed: UInt64
    ) throws {
        let (placements, slots) = try RebalancingTests.contiguous(64, ranks: 4, more: 16)
        let loads = RebalancingTests.zipf(64, seed: seed)
        let better = try Rebalancing.balanced(from: placements, loads: [loads], slots: slots)
        let nodes = nodes.map { NodeID(rawValue: $0) }
        let before = try Self.counted(placements[0], loads, nodes: nodes, seed: seed)
        let after = try Self.counted(better.placements[0], loads, nodes: nodes, seed: seed)
        let turns = try Self.counted(
            ExpertPlacement(
                expertCount: 64, expertsByRank: better.placements[0].expertsByRank), loads,
            nodes: nodes, seed: seed)
        print(
            "zipf, nodes \(nodes.map(\.rawValue)), seed \(seed): max/mean planned \(better.after),"
                + " counted \(before) before, \(turns) in turns, \(after) dealt")
        #expect(better.after <= 1.05 && after <= 1.05)
    }

    @Test func `a copy takes tokens of its own rank first, then those of its node`() throws {
        let whole = 1 << 16
        let map = try ExpertMap(placements: [
            ExpertPlacement(
                expertCount: 1, expertsByRank: [[0], [], [0], []],
                shares: [[whole / 2], [], [whole / 2], []])
        ])
        let nodes: [NodeID] = [0, 0, 1, 1]
        for (source, taker): (Rank, Rank) in [(0, 0), (1, 0), (2, 2), (3, 2)] {
            let copies = map.copies(for: source, layer: 0, nodes: nodes)
            #expect((0 ..< 9).allSatisfy { copies.copy(of: 0, token: $0).rank == taker })
        }
        let uneven = try ExpertMap(placements: [
            ExpertPlacement(
                expertCount: 1, expertsByRank: [[0], [], [0], []],
                shares: [[whole / 4], [], [whole / 4 * 3], []])
        ])
        let first = uneven.copies(for: 0, layer: 0, nodes: nodes)
        #expect((0 ..< 9).allSatisfy { first.copy(of: 0, token: $0).rank == 0 })
        let second = uneven.copies(for: 1, layer: 0, nodes: nodes)
        #expect((0 ..< 9).allSatisfy { second.copy(of: 0, token: $0).rank == 2 })
    }

    @Test func `shares of a lost rank go to the copies that are left`() throws {
        let whole = 1 << 16
        let placement = try ExpertPlacement(
            expertCount: 3, expertsByRank: [[0, 1], [0, 2], [0, 1]],
            shares: [[whole / 2, 0], [whole / 4, whole], [whole / 4, whole]])
        let left = try placement.remaining(on: [0, 1])
        #expect(left.expertsByRank == [[0, 1], [0, 2]])
        #expect(left.shares?[0] == [43691, whole] && left.shares?[1] == [21845, whole])
        #expect(try placement.remaining(on: [0, 1, 2]) == placement)
        // Expert 2 is read anew.
        #expect(try placement.remaining(on: [0, 2]).shares?[0].last == whole)
    }

    @Test func `shares that make no whole, or are not one for each copy, are refused`() throws {
        let whole = 1 << 16
        for (shares, error): ([[Int]], PlacementError) in [
            ([[whole], [1]], .share(0, whole + 1)), ([[-1], [whole]], .share(0, -1)),
            ([[whole]], .shareCounts([1])), ([[whole, 0], [0]], .shareCounts([2, 1])),
            ([[whole / 2], [0]], .share(0, whole / 2)),
        ] {
            #expect(throws: error) {
                try ExpertPlacement(
                    expertCount: 1, expertsByRank: [[0], [0]], shares: shares)
            }
        }
    }
}
