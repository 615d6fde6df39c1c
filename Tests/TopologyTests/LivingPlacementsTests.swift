import Encoding
import Testing
import Topology

/// Placements of groups some of whose ranks are lost.
@Suite struct LivingPlacementsTests {
    @Test(arguments: 0 ..< UInt64(200))
    func `those that live are balanced, and all fits once the lost rank is back in its place`(
        seed: UInt64
    ) throws {
        var random = SplitMix64(seed: seed)
        let ranks = Int.random(in: 3 ... 6, using: &random)
        let experts = Int.random(in: ranks ... 40, using: &random)
        let more = Int.random(in: 0 ... min(experts, 12), using: &random)
        let (placements, slots) = try RebalancingTests.contiguous(
            experts, ranks: ranks, more: more, layers: 2)
        let loads = (0 ..< 2).map { RebalancingTests.zipf(experts, seed: seed + UInt64($0)) }
        let lost = Rank(rawValue: Int.random(in: 0 ..< ranks, using: &random))
        let living = (0 ..< ranks).map { Rank(rawValue: $0) }.filter { $0 != lost }
        let present = try LivingPlacements(of: placements, living: living, slots: slots)
        let found = try Rebalancing.balanced(
            from: present.placements, loads: loads, slots: present.slots)
        let better = try present.whole(found)
        #expect(better.after <= better.before)
        #expect(better.moves.allSatisfy { $0.rank != lost })
        let seen = try LivingPlacements(of: better.placements, living: living, slots: slots)
        #expect(seen.placements == found.placements, "seed \(seed)")
        for layer in 0 ..< 2 {
            #expect(
                better.placements[layer].experts(on: lost) == placements[layer].experts(on: lost))
        }
        let back = try LivingPlacements(
            of: better.placements, living: living + [lost], slots: slots
        ).fitted(back: lost, slots: slots, loads: loads)
        for layer in 0 ..< 2 {
            let held = back[layer].expertsByRank
            #expect(held[lost.rawValue] == placements[layer].experts(on: lost))
            #expect(zip(held, slots).allSatisfy { $0.count <= $1 }, "seed \(seed): \(held)")
        }
    }

    @Test func `a rank that was placed while another was lost comes back to its slots, too`()
        throws
    {
        let experts: [[ExpertID]] = [[0, 2, 4], [1, 3, 2], [4, 5, 0]]
        let placement = try ExpertPlacement(expertCount: 6, expertsByRank: experts)
        let back = try LivingPlacements(
            of: [placement], living: [0, 1, 2], slots: [2, 2, 2]
        ).fitted(back: 0, slots: [2, 2, 2], loads: [[1, 1, 1, 1, 1, 1]])
        #expect(back[0].expertsByRank.map(\.count) == [2, 2, 2])
        // What it does not hold already, it would have to read.
        #expect(Set(back[0].expertsByRank[0]).isSubset(of: experts[0]))
    }

    @Test func `after a loss Zipf's law on the ranks that are left is balanced too`() throws {
        for seed in 0 ..< UInt64(20) {
            let (placements, slots) = try RebalancingTests.contiguous(64, ranks: 4, more: 16)
            let loads = [RebalancingTests.zipf(64, seed: seed)]
            let present = try LivingPlacements(
                of: placements, living: [0, 2, 3], slots: slots)
            let better = try Rebalancing.balanced(
                from: present.placements, loads: loads, slots: present.slots)
            #expect(better.after <= 1.05, "seed \(seed): \(better.before) to \(better.after)")
        }
    }

    @Test func `slots of other ranks, and nobody left, are refused`() throws {
        let (placements, slots) = try RebalancingTests.contiguous(8, ranks: 4, more: 0)
        #expect(throws: TopologyError.self) {
            try LivingPlacements(of: placements, living: [0], slots: Array(slots.dropLast()))
        }
        #expect(throws: PlacementError.self) {
            try LivingPlacements(of: placements, living: [], slots: slots)
        }
        #expect(throws: PlacementError.self) {
            try LivingPlacements(of: placements, living: [4], slots: slots)
        }
    }
}
