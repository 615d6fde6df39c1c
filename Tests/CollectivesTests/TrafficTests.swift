import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Collectives

/// What a group counts of its traffic, beside the same counted from routing and placement alone.
@Suite struct TrafficTests {
    /// Bytes of a token and of a row in f32, and of what says which experts a token meets.
    private static let (row, entry, blockHead) = (4 * 256, 8 * 5, 64)

    private static func setup(_ nodes: [Int]?, _ mode: ExpertParallelConfiguration.Mode) throws
        -> RoundTrip
    {
        try RoundTrip(
            configuration: ExpertParallelConfiguration(
                mode: mode, hiddenSize: 256, topK: 4, maximumTokensPerRank: 64,
                dispatchCodec: .float32, combineCodec: .float32,
                addsBeforeReturn: mode == .normal),
            map: ExpertMap(
                placements: [try .contiguous(expertCount: 12, rankCount: 4)]),
            tokenCounts: [64, 0, 17, 40], nodes: nodes, skipEvery: 5)
    }

    /// Bytes from each rank to each in one exchange, by the rules of the two modes.
    private static func expected(_ setup: RoundTrip) throws -> [[Int]] {
        let nodes = setup.nodes ?? [0, 0, 0, 0]
        let relays = setup.configuration.mode == .normal
        let routing = try setup.globalRouting()
        var sent = [[Int]](repeating: [0, 0, 0, 0], count: 4)
        func add(_ from: Int, _ to: Int, _ bytes: Int) { if from != to { sent[from][to] += bytes } }
        for source in 0 ..< 4 {
            let share = try setup.share(routing, of: source)
            let place = nodes[..<source].count { $0 == nodes[source] }
            func carrier(_ reader: Int) -> Int {
                if nodes[reader] == nodes[source] { return source }
                let there = (0 ..< 4).filter { nodes[$0] == nodes[reader] }
                return relays ? there[place % there.count] : reader
            }
            for there in Set((0 ..< 4).map(carrier)) where there != source {
                add(source, there, blockHead)
            }
            for token in 0 ..< share.tokenCount {
                let choices = share.expertIDs[token * 4 ..< token * 4 + 4].filter { $0 >= 0 }
                let holders = choices.map { Int($0) / 3 }
                for there in Set(holders.map(carrier)) where there != source {
                    // To another node once, and home once, or each row alone.
                    add(source, there, row + entry)
                    add(there, source, (relays ? 1 : holders.count { $0 == there }) * row)
                }
                for holder in Set(holders) {
                    add(carrier(holder), holder, row + entry)
                    let rows = relays ? 1 : holders.count { $0 == holder }
                    // Blocks from another node were counted above.
                    if !relays, nodes[holder] != nodes[source] { continue }
                    add(holder, carrier(holder), rows * row)
                }
            }
        }
        return sent
    }

    @Test(
        arguments: [nil, [0, 0, 1, 1], [0, 1, 2, 3], [0, 1, 1, 0]] as [[Int]?], [true, false])
    func `bytes are those that routing and placement say`(nodes: [Int]?, isNormal: Bool) throws {
        let setup = try Self.setup(nodes, isNormal ? .normal : .lowLatency)
        let rounds = 3
        let found = try setup.onEveryRank { part in
            for _ in 0 ..< rounds { try setup.exchange(part) }
            return part.group.traffic
        }
        let expected = try Self.expected(setup)
        #expect(found.map { $0.map(\.bytes) } == expected.map { $0.map { rounds * $0 } })
        let places = nodes ?? [0, 0, 0, 0]
        for (rank, row) in found.enumerated() {
            #expect(row.map(\.crossesNodes) == places.map { $0 != places[rank] })
        }
    }
}
