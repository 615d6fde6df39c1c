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

    @Test func `an expert on no rank is refused`() {
        #expect(throws: PlacementError.notPlaced(2)) {
            try ExpertPlacement(expertCount: 3, expertsByRank: [[0, 1], [1]])
        }
    }
}
