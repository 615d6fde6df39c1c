import Encoding
import Testing
import Topology

@Suite struct ExpertPlacementTests {
    @Test func `experts that do not divide leave the first ranks one more`() throws {
        let placement = try ExpertPlacement.contiguous(expertCount: 7, rankCount: 3)
        #expect(placement.expertsByRank == [[0, 1, 2], [3, 4], [5, 6]])
    }

    @Test func `more ranks than experts are refused`() {
        #expect(throws: PlacementError.moreRanksThanExperts(ranks: 5, experts: 4)) {
            try ExpertPlacement.contiguous(expertCount: 4, rankCount: 5)
        }
    }

    @Test func `who lives keeps its experts and takes over those of the others, evenly`() throws {
        let placement = try ExpertPlacement.remaining(
            expertCount: 8, rankCount: 4, living: [0, 2, 3])
        #expect(placement.expertsByRank == [[0, 1, 2], [4, 5, 3], [6, 7]])
    }

    @Test(arguments: 0 ..< 200)
    func `any ranks that live hold every expert once, and all ranks hold what they began with`(
        seed: UInt64
    ) throws {
        var random = SplitMix64(seed: seed)
        let ranks = Int.random(in: 1 ... 16, using: &random)
        let experts = Int.random(in: ranks ... 64, using: &random)
        let living = (0 ..< ranks).filter { _ in Bool.random(using: &random) }
            .map { Rank(rawValue: $0) }
        guard !living.isEmpty else { return }
        let whole = try ExpertPlacement.contiguous(expertCount: experts, rankCount: ranks)
        let rest = try ExpertPlacement.remaining(
            expertCount: experts, rankCount: ranks, living: living)
        #expect(rest.expertsByRank.joined().map(\.rawValue).sorted() == Array(0 ..< experts))
        for (place, rank) in living.enumerated() {
            #expect(rest.expertsByRank[place].starts(with: whole.experts(on: rank)))
        }
        let counts = rest.expertsByRank.map(\.count)
        #expect((counts.max() ?? 0) - (counts.min() ?? 0) <= 1, "\(counts)")
        let all = (0 ..< ranks).map { Rank(rawValue: $0) }
        #expect(
            try ExpertPlacement.remaining(expertCount: experts, rankCount: ranks, living: all)
                == whole)
    }

    @Test func `nobody who lives, and a rank of another group, are refused`() {
        #expect(throws: PlacementError.notPlaced(0)) {
            try ExpertPlacement.remaining(expertCount: 4, rankCount: 2, living: [])
        }
        #expect(throws: PlacementError.unknownRank(2, rankCount: 2)) {
            try ExpertPlacement.remaining(expertCount: 4, rankCount: 2, living: [2])
        }
    }

    @Test func `an expert on no rank is refused`() {
        #expect(throws: PlacementError.notPlaced(2)) {
            try ExpertPlacement(expertCount: 3, expertsByRank: [[0, 1], [1]])
        }
    }
}
