import Encoding
import NIOHTTP1
import Testing
import Topology

@testable import Serving

/// What `/experts` says of a group, beside values by hand.
@Suite struct GroupLoadsTests {
    private static func group(_ loads: [[Double]]) throws -> GroupLoads {
        let placement = try ExpertPlacement.contiguous(expertCount: 4, rankCount: 2)
        return GroupLoads(
            name: "serve", ranks: [Rank(rawValue: 3), Rank(rawValue: 5)],
            placements: loads.map { _ in placement }, loads: loads, slots: [2, 2],
            nodes: NodePacking(names: ["a", "a"], groupCount: 1), nodeNames: ["a", "a"])
    }

    @Test func `loads are over the mean, and better places and copies are solved`() throws {
        let json = try Self.group([[3, 1, 0, 0], [1, 1, 1, 1]]).json()
        #expect(json["ranks"] == [3, 5] && json["name"] == "serve")
        let layers = try #require(json["layers"]?.array)
        #expect(layers[0]["loads"] == [3, 1, 0, 0] && layers[1]["loads"] == [1, 1, 1, 1])
        #expect(layers[0]["ranks"] == [[3], [3], [5], [5]])
        // Rank 3 has all tokens of the first layer, and half of those of the second.
        #expect(layers[0]["imbalance"] == 2 && layers[1]["imbalance"] == 1)
        #expect(json["imbalance"] == .number(1.5))
        // Without copies the first expert alone is 3 of 4; with a copy on each rank it is even.
        let gains = try #require(json["gains"]?.array)
        #expect(gains.map { $0["redundant_experts"]?.integer } == [0, 2, 4])
        #expect(gains[0]["imbalance"] == .number(1.25) && gains[1]["imbalance"] == 1)
    }

    @Test func `layers of unlike copies have gains, too`() throws {
        func placement(_ experts: [[Int]]) throws -> ExpertPlacement {
            try ExpertPlacement(
                expertCount: 4, expertsByRank: experts.map { $0.map(ExpertID.init(rawValue:)) })
        }
        var group = try Self.group([[3, 1, 0, 0], [1, 1, 1, 1]])
        // What is left of three ranks after one was lost: each layer gave its experts elsewhere.
        group.placements = [
            try placement([[0, 1, 3], [0, 2]]), try placement([[0, 1, 2], [0, 1, 3]]),
        ]
        group.slots = [3, 3]
        let gains = try #require(group.json()["gains"]?.array)
        #expect(gains.count == 3 && gains[0]["redundant_experts"] == 2)
    }

    @Test func `a layer that counted nothing is even`() throws {
        let json = try Self.group([[0, 0, 0, 0]]).json()
        #expect(json["imbalance"] == 1 && json["layers"]?.array?[0]["loads"] == [0, 0, 0, 0])
    }

    @Test func `a server that counts nothing has no groups`() async throws {
        try await APITests.withServer(ranks: 1) { server in
            let answer = try await server.send(.GET, "/experts")
            #expect(answer.status == 200 && answer.text == #"{"groups":[]}"#)
        }
    }
}
