import Testing

@testable import Topology

/// Static and adaptive ways over switches.
@Suite struct SwitchRoutesTests {
    /// Two leaves of two nodes, joined by two spines.
    private static func links(_ routing: LinkMap.Routing) throws -> LinkMap {
        let map = try NodeMap(
            yaml: """
                name: leaves
                nodes: [{name: n, count: 4}]
                planes: [{name: p, gigabitsPerSecond: 8}]
                switches:
                  - {name: leaf0, plane: p, radix: 4, nodes: [n0, n1], above: [s0, s1]}
                  - {name: leaf1, plane: p, radix: 4, nodes: [n2, n3], above: [s0, s1]}
                  - {name: s0, plane: p, radix: 4}
                  - {name: s1, plane: p, radix: 4}
                """, path: "leaves")
        var links = try LinkMap(map, file: "leaves", rankCount: 4)
        links.routing = routing
        return links
    }

    private static func names(_ links: LinkMap, _ source: Int, _ target: Int) -> [[String]] {
        links.routes(from: Rank(rawValue: source), to: Rank(rawValue: target), plane: 0)
            .map { $0.links.map { links.links[Int($0)].name } }
    }

    @Test func `adaptive routing has all equally short ways`() throws {
        let links = try Self.links(.adaptive)
        #expect(
            Set(Self.names(links, 0, 3)) == [
                ["n0.p.out", "leaf0-s0", "s0-leaf1", "n3.p.in"],
                ["n0.p.out", "leaf0-s1", "s1-leaf1", "n3.p.in"],
            ])
        // Under one leaf there is one way.
        #expect(Self.names(links, 0, 1) == [["n0.p.out", "n1.p.in"]])
    }

    @Test(arguments: [(0, 2), (0, 3), (1, 2), (1, 3), (2, 0), (3, 1)])
    func `static routing has one of them, always the same`(source: Int, target: Int) throws {
        let fixed = try Self.names(Self.links(.static), source, target)
        #expect(fixed.count == 1)
        #expect(try Self.names(Self.links(.static), source, target) == fixed)
        #expect(try Self.names(Self.links(.adaptive), source, target).contains(fixed[0]))
    }
}
