import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Collectives

/// Exchanges along maps with other places in each layer, second copies, spare slots and lost ranks.
@Suite struct ExpertMapTests {
    /// Each rank sends tokens whose expert is their number; what returns says which expert and
    /// which rank computed it: 100 times the rank, plus the expert.
    private static func served(
        by map: ExpertMap, layer: Int, _ group: ExpertParallelGroup
    ) throws -> [Int] {
        let rank = group.fabric.rank
        let count = map.expertCount
        let routing = try Routing(
            tokenCount: count, topK: 1, expertIDs: (0 ..< count).map { Int32($0) })
        let tokens = Tensor(rows: count, columns: 128)
        let received = try group.dispatch(tokens, routing: routing, in: map, layer: layer).wait()
        let outputs = Tensor(rows: received.rowCount, columns: 128)
        for (local, expert) in map.experts(on: rank, layer: layer).enumerated() {
            for row in received.expertOffsets[local] ..< received.expertOffsets[local + 1] {
                outputs.view(rows: row ..< row + 1)
                    .fill(Float(100 * rank.rawValue + expert.rawValue))
            }
        }
        let home = Tensor(rows: count, columns: 128)
        try group.combine(outputs, for: received).wait(addingInto: home)
        return (0 ..< count).map { Int(home[$0, 0]) }
    }

    private static func group(
        _ fabric: any Fabric, _ map: ExpertMap, _ mode: ExpertParallelConfiguration.Mode
    ) throws -> ExpertParallelGroup {
        var configuration = ExpertParallelConfiguration(
            mode: mode, hiddenSize: 128, topK: 1, maximumTokensPerRank: 8,
            dispatchCodec: .float32, combineCodec: .float32)
        configuration.limit = .seconds(10)
        return try ExpertParallelGroup(fabric: fabric, configuration: configuration, map: map)
    }

    @Test(arguments: ExpertParallelConfiguration.Mode.allCases, [[0, 0, 0], [0, 0, 1]])
    func `each layer sends tokens to the places of its own`(
        mode: ExpertParallelConfiguration.Mode, nodes: [Int]
    ) throws {
        let layers: [[[ExpertID]]] = [
            [[0, 1], [2], [3]], [[3], [1, 0], [2]], [[2, 3], [0], [1]],
        ]
        let map = try ExpertMap(
            placements: layers.map {
                try ExpertPlacement(expertCount: 4, expertsByRank: $0)
            })
        let found = try onRanks(3, nodes: nodes) { fabric in
            let group = try Self.group(fabric, map, mode)
            return try (0 ..< 3).map { try Self.served(by: map, layer: $0, group) }
        }
        let expected = [[0, 1, 102, 203], [100, 101, 202, 3], [100, 201, 2, 3]]
        for rank in found { #expect(rank == expected) }
    }

    @Test func `a second copy serves the ranks that are nearer to it`() throws {
        // Expert 0 is on both nodes; expert 3 is on rank 1 and on rank 3 as well.
        let placement = try ExpertPlacement(
            expertCount: 4, expertsByRank: [[0, 1], [3], [2, 0], [3]])
        let map = try ExpertMap(placements: [placement])
        let found = try onRanks(4, nodes: [0, 0, 1, 1]) { fabric in
            try Self.served(by: map, layer: 0, Self.group(fabric, map, .normal))
        }
        #expect(found[0] == [0, 1, 202, 103])
        #expect(found[1] == [0, 1, 202, 103])
        #expect(found[2] == [200, 1, 202, 303])
        #expect(found[3] == [200, 1, 202, 303])
    }

    @Test func `copies in spare slots serve from the next epoch on`() throws {
        let first = try ExpertMap.contiguous(expertCount: 4, rankCount: 2, spareSlotsPerRank: 1)
        let second = try first.next(
            placements: [ExpertPlacement(expertCount: 4, expertsByRank: [[0, 1, 3], [2, 3, 0]])])
        let found = try onRanks(2) { fabric in
            let group = try Self.group(fabric, first, .lowLatency)
            return try [first, second].map { try Self.served(by: $0, layer: 0, group) }
        }
        #expect(found[0] == [[0, 1, 102, 103], [0, 1, 102, 3]])
        #expect(found[1] == [[0, 1, 102, 103], [100, 1, 102, 103]])
    }

    @Test func `a rank whose epoch is older than another rank's is refused`() throws {
        let first = try ExpertMap.contiguous(expertCount: 4, rankCount: 2)
        _ = try onRanks(2) { fabric in
            let group = try Self.group(fabric, first, .normal)
            _ = try Self.served(by: first, layer: 0, group)
            let epoch: UInt64 = fabric.rank == 0 ? 2 : 3
            let own = try ExpertMap(epoch: epoch, placements: first.placements)
            if fabric.rank == 0 {
                let error = #expect(throws: CollectivesError.self) {
                    _ = try Self.served(by: own, layer: 0, group)
                }
                guard case .staleEpoch(2, current: 3)? = error else {
                    Issue.record("\(String(describing: error))")
                    return
                }
            } else {
                // It waits for rank 0, which ends.
                #expect(throws: TransportError.self) {
                    _ = try Self.served(by: own, layer: 0, group)
                }
            }
        }
    }

    @Test func `more copies than the windows have slots for are refused`() throws {
        _ = try onRanks(1) { fabric in
            let map = try ExpertMap.contiguous(expertCount: 4, rankCount: 1)
            let group = try Self.group(fabric, map, .normal)
            let larger = try ExpertMap(
                epoch: 2, placements: map.placements, spareSlotsPerRank: 1)
            let routing = try Routing(tokenCount: 1, topK: 1, expertIDs: [0])
            #expect(throws: CollectivesError.self) {
                _ = try group.layout(for: routing, in: larger, layer: 0)
            }
            #expect(throws: CollectivesError.self) {
                _ = try group.layout(for: routing, in: map, layer: 1)
            }
        }
    }

    @Test(arguments: [[0, 0, 0], [0, 0, 1], [0, 1, 1]])
    func `without a lost rank the copies of others serve its experts`(nodes: [Int]) throws {
        let placement = try ExpertPlacement(
            expertCount: 4, expertsByRank: [[0, 1], [2, 1], [3, 2, 0]])
        let first = try ExpertMap(placements: [placement])
        let second = try first.next(without: [1])
        let found = try onRanks(3, nodes: nodes) { fabric in
            let group = try Self.group(fabric, first, .normal)
            _ = try Self.served(by: first, layer: 0, group)
            // Everybody has read what rank 1 gave before it leaves.
            try fabric.barrier(deadline: Deadline(.seconds(10), "before the loss"))
            if fabric.rank == 1 { return [0] }
            return try Self.served(by: second, layer: 0, group)
        }
        #expect(found[0] == [0, 1, 202, 203])
        #expect(found[2] == [200, 1, 202, 203])
    }

    @Test func `ranks with other maps learn who and about what`() throws {
        let endings = try onRanksCatching(2) { fabric in
            let map = try ExpertMap.contiguous(
                expertCount: 4, rankCount: 2, spareSlotsPerRank: fabric.rank.rawValue)
            _ = try Self.group(fabric, map, .normal)
        }
        #expect(
            throws: CollectivesError.disagreement(
                1, subject: "slots per rank", theirs: "3", ours: "2")
        ) { try endings[0].get() }
    }

    @Test func `ranks with other copies of a layer learn who and which, in a few bytes`() throws {
        let own = try (0 ..< 61).map { layer in
            let order = (0 ..< 256).map { ExpertID(rawValue: ($0 * 7 + layer) % 256) }
            return try ExpertPlacement(
                expertCount: 256,
                expertsByRank: (0 ..< 2).map { Array(order[$0 * 128 ..< ($0 + 1) * 128]) })
        }
        var others = own
        others[40] = try .contiguous(expertCount: 256, rankCount: 2)
        // As text it would be 60 KB of each rank, and every rank is given those of all.
        let fields = try ExpertMap(placements: own).agreement
        #expect(fields.reduce(0) { $0 + $1.value.utf8.count } < 1024)
        let endings = try onRanksCatching(2) { [others] fabric in
            let map = try ExpertMap(placements: fabric.rank == 0 ? own : others)
            _ = try Self.group(fabric, map, .normal)
        }
        let (ours, theirs) = (own[40].fingerprint, others[40].fingerprint)
        #expect(ours != theirs && ours.utf8.count == 16)
        #expect(
            throws: CollectivesError.disagreement(
                1, subject: "fingerprint of the copies of layer 40", theirs: theirs, ours: ours)
        ) { try endings[0].get() }
    }
}
