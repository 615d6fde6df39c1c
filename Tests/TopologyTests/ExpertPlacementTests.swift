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

    @Test func `who lives keeps its experts and takes over others, none above the mean`() throws {
        let placement = try ExpertPlacement.contiguous(expertCount: 8, rankCount: 4)
            .remaining(on: [0, 2, 3])
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
        let rest = try whole.remaining(on: living)
        #expect(rest.expertsByRank.joined().map(\.rawValue).sorted() == Array(0 ..< experts))
        for (place, rank) in living.enumerated() {
            #expect(rest.expertsByRank[place].starts(with: whole.experts(on: rank)))
        }
        let counts = rest.expertsByRank.map(\.count)
        let mean = (experts + living.count - 1) / living.count
        #expect(counts.allSatisfy { $0 <= mean }, "\(counts)")
        let all = (0 ..< ranks).map { Rank(rawValue: $0) }
        #expect(try whole.remaining(on: all) == whole)
    }

    @Test func `nobody who lives, and a rank of another group, are refused`() throws {
        let whole = try ExpertPlacement.contiguous(expertCount: 4, rankCount: 2)
        #expect(throws: PlacementError.notPlaced(0)) { try whole.remaining(on: []) }
        #expect(throws: PlacementError.unknownRank(2, rankCount: 2)) {
            try whole.remaining(on: [2])
        }
    }

    @Test func `redundant copies are of the experts that follow a rank's own, in a circle`()
        throws
    {
        let placement = try ExpertPlacement.contiguous(
            expertCount: 8, rankCount: 4, redundantCount: 6)
        #expect(
            placement.expertsByRank
                == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6], [6, 7, 0]])
        #expect(throws: PlacementError.redundant(25, limit: 24, ranks: 4)) {
            try ExpertPlacement.contiguous(expertCount: 8, rankCount: 4, redundantCount: 25)
        }
    }

    @Test(arguments: 0 ..< 200)
    func `any redundant copies are dealt as evenly as they divide, none twice to a rank`(
        seed: UInt64
    ) throws {
        var random = SplitMix64(seed: seed)
        let ranks = Int.random(in: 1 ... 16, using: &random)
        let experts = Int.random(in: ranks ... 64, using: &random)
        let more = Int.random(in: 0 ... experts * (ranks - 1), using: &random)
        let placement = try ExpertPlacement.contiguous(
            expertCount: experts, rankCount: ranks, redundantCount: more)
        let counts = placement.expertsByRank.map(\.count)
        #expect(counts.reduce(0, +) == experts + more)
        #expect((counts.max() ?? 0) - (counts.min() ?? 0) <= 1, "\(counts)")
        if experts % ranks == 0, more % ranks == 0 {
            let equal = [Double](repeating: 1, count: experts)
            let imbalance = ExpertBalancing.imbalance(of: placement, loads: equal)
            #expect(abs(imbalance - 1) < 1e-9)
        }
    }

    @Test func `a lost rank's expert stays where it has another copy, and only others move`()
        throws
    {
        let whole = try ExpertPlacement.contiguous(
            expertCount: 8, rankCount: 4, redundantCount: 4)
        #expect(whole.expertsByRank == [[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 0]])
        // Of rank 1's experts 2 and 4 have a living copy.
        let rest = try whole.remaining(on: [0, 2, 3])
        #expect(rest.expertsByRank == [[0, 1, 2], [4, 5, 6, 3], [6, 7, 0]])
        // With as many copies as ranks nothing moves at all.
        let full = try ExpertPlacement.contiguous(
            expertCount: 4, rankCount: 2, redundantCount: 4)
        #expect(try full.remaining(on: [1]).expertsByRank == [full.experts(on: 1)])
    }

    @Test func `an expert on no rank is refused`() {
        #expect(throws: PlacementError.notPlaced(2)) {
            try ExpertPlacement(expertCount: 3, expertsByRank: [[0, 1], [1]])
        }
    }
}
