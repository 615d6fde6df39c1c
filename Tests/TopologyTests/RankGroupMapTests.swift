import Testing

@testable import Topology

@Suite struct RankGroupMapTests {
    @Test func `groups hold consecutive ranks in the order of the job`() throws {
        let map = try RankGroupMap([
            RankGroup(name: "a", role: .serve, rankCount: 2),
            RankGroup(name: "b", role: .serve, rankCount: 3),
        ])
        #expect(map.rankCount == 5)
        #expect(map.group(of: 1).group.name == "a")
        #expect(map.group(of: 1).members == [0, 1])
        #expect(map.group(of: 2).group.name == "b")
        #expect(map.group(of: 4).members == [2, 3, 4])
    }

    @Test func `one group is named after its role and holds every rank`() {
        let map = RankGroupMap.one(.train, rankCount: 3)
        #expect(map.groups == [RankGroup(name: "train", role: .train, rankCount: 3)])
        #expect(map.group(of: 2).members == [0, 1, 2])
    }

    @Test(
        arguments: [
            ([], "groups is empty"),
            ([("a", 0)], "groups[0].ranks 0 is not 1 to 1024"),
            ([("a", 1), ("", 1)], "groups[1].name is empty"),
            ([("a", 1), ("a", 1)], "groups[1].name \"a\" names another group too"),
            ([("a", 1000), ("b", 25)], "the groups have 1025 ranks: a job has at most 1024"),
        ] as [([(String, Int)], String)])
    func `groups that cannot be are refused with the value and the limit`(
        groups: [(String, Int)], words: String
    ) {
        let error = #expect(throws: TopologyError.self) {
            try RankGroupMap(groups.map { RankGroup(name: $0.0, role: .serve, rankCount: $0.1) })
        }
        #expect("\(error!)".contains(words))
    }
}
