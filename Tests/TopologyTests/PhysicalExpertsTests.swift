import Foundation
import Testing
import Topology

@Suite struct PhysicalExpertsTests {
    @Test func `copies know their rank, their expert and their place`() throws {
        let physical = PhysicalExperts(
            try ExpertPlacement(expertCount: 3, expertsByRank: [[0, 2, 1], [1], [2, 0]]))
        #expect(physical.copies(of: 1) == [2, 3])
        #expect(physical.rank(of: 3) == 1)
        #expect(physical.expert(of: 4) == 2)
        #expect(physical.localIndex(of: 5) == 1)
        #expect(physical.copyOffsets == [0, 2, 4, 6])
    }

    @Test func `a placement survives a trip through JSON and is checked on the way in`() throws {
        let placement = try ExpertPlacement(expertCount: 3, expertsByRank: [[0, 2], [1, 0]])
        let bytes = try JSONEncoder().encode(placement)
        #expect(try JSONDecoder().decode(ExpertPlacement.self, from: bytes) == placement)
        let bad = Data(#"{"expertCount": -1, "expertsByRank": [[0]]}"#.utf8)
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(ExpertPlacement.self, from: bad)
        }
        let twice = Data(#"{"expertCount": 1, "expertsByRank": [[0, 0]]}"#.utf8)
        #expect(throws: PlacementError.copiesOnOneRank(0)) {
            try JSONDecoder().decode(ExpertPlacement.self, from: twice)
        }
    }
}
