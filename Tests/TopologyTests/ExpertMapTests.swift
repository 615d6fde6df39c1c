import Testing
import Topology

@Suite struct ExpertMapTests {
    @Test func `a token prefers its own rank, then its node, and otherwise copies take turns`()
        throws
    {
        let map = try ExpertMap(placements: [
            ExpertPlacement(expertCount: 3, expertsByRank: [[0], [1, 0], [2, 1], [2, 0]])
        ])
        let nodes: [NodeID] = [0, 0, 1, 1]
        func ranks(_ expert: ExpertID, from source: Rank) -> [Rank] {
            let copies = map.copies(for: source, layer: 0, nodes: nodes)
            return (0 ..< 4).map { copies.copy(of: expert, token: $0).rank }
        }
        // Expert 0 is on ranks 0, 1 and 3; expert 2 on ranks 2 and 3.
        #expect(ranks(0, from: 1) == [1, 1, 1, 1])
        #expect(ranks(0, from: 2) == [3, 3, 3, 3])
        #expect(ranks(2, from: 0) == [2, 3, 2, 3])
        #expect(ranks(2, from: 1) == [3, 2, 3, 2])
        #expect(map.copies(for: 2, layer: 0, nodes: nodes).copy(of: 0, token: 0).localIndex == 1)
    }

    @Test func `layers have placements of their own`() throws {
        let map = try ExpertMap(placements: [
            ExpertPlacement(expertCount: 2, expertsByRank: [[0], [1]]),
            ExpertPlacement(expertCount: 2, expertsByRank: [[1], [0]]),
        ])
        #expect(map.experts(on: 0, layer: 0) == [0])
        #expect(map.experts(on: 0, layer: 1) == [1])
        for (layer, rank): (Int, Rank) in [(0, 1), (1, 0)] {
            let copies = map.copies(for: 0, layer: layer, nodes: [0, 0])
            #expect(copies.copy(of: 1, token: 7).rank == rank)
        }
    }

    @Test func `a lost rank serves nothing, and its copies are served by others`() throws {
        let map = try ExpertMap(placements: [
            ExpertPlacement(expertCount: 2, expertsByRank: [[0, 1], [0], [1]])
        ])
        let next = try map.next(without: [1])
        #expect(next.epoch == 2 && next.livingRanks == [0, 2] && next.lostRanks == [1])
        let copies = next.copies(for: 2, layer: 0, nodes: [0, 1, 1])
        #expect((0 ..< 4).map { copies.copy(of: 0, token: $0).rank } == [0, 0, 0, 0])
    }

    @Test func `an expert without a living copy is named with its layer`() throws {
        let placements = try [
            ExpertPlacement(expertCount: 2, expertsByRank: [[0, 1], [0, 1]]),
            ExpertPlacement(expertCount: 2, expertsByRank: [[0], [1, 0]]),
        ]
        let map = try ExpertMap(placements: placements)
        #expect(throws: PlacementError.lost(1, layer: 1)) { try map.next(without: [1]) }
        #expect(throws: PlacementError.lost(0, layer: 0)) {
            try map.next(without: [0, 1])
        }
    }

    @Test func `spare slots hold later copies, and no more`() throws {
        let map = try ExpertMap.contiguous(expertCount: 4, rankCount: 2, spareSlotsPerRank: 1)
        #expect(map.slotsPerRank == 3)
        let copied = try ExpertPlacement(expertCount: 4, expertsByRank: [[0, 1, 2], [2, 3, 0]])
        #expect(try map.next(placements: [copied]).slotsPerRank == 3)
        let full = try ExpertPlacement(expertCount: 4, expertsByRank: [[0, 1, 2, 3], [2, 3]])
        #expect(throws: PlacementError.slots(4, layer: 0, limit: 3)) {
            try map.next(placements: [full])
        }
    }

    @Test func `layers that differ in ranks or experts are refused`() throws {
        let layers = try [
            ExpertPlacement.contiguous(expertCount: 4, rankCount: 2),
            ExpertPlacement.contiguous(expertCount: 4, rankCount: 4),
        ]
        #expect(throws: PlacementError.layersDiffer(layer: 1, ranks: 4, experts: 4)) {
            try ExpertMap(placements: layers)
        }
        #expect(throws: PlacementError.unknownRank(2, rankCount: 2)) {
            try ExpertMap(livingRanks: [0, 1, 2], placements: [layers[0]])
        }
        #expect(throws: PlacementError.noLayers) { try ExpertMap(placements: []) }
        #expect(throws: PlacementError.epoch(0)) { try ExpertMap(epoch: 0, placements: layers) }
    }
}
