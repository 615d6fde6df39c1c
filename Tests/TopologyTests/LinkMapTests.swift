import Foundation
import Testing

@testable import Topology

/// The links of shipped topology files, and the ways between ranks.
@Suite struct LinkMapTests {
    private static func links(_ name: String, ranks: Int) throws -> LinkMap {
        let path = NodeMapTests.folder.appending(path: name).path(percentEncoded: false)
        return try LinkMap(NodeMap(contentsOf: path), file: path, rankCount: ranks)
    }

    private static func names(
        _ links: LinkMap, _ source: Int, _ target: Int, plane: Int = 0
    ) -> [String] {
        links.route(from: Rank(rawValue: source), to: Rank(rawValue: target), plane: plane)
            .links.map { links.links[Int($0)].name }
    }

    @Test func `each rank of eight has its own of eight planes`() throws {
        let links = try Self.links("h800-2048-mpft.yaml", ranks: 16)
        #expect(links.map.nodes.count == 2)
        for rank in 0 ..< 8 {
            #expect(links.planes(of: Rank(rawValue: rank)) == rank ..< rank + 1)
        }
        #expect(Self.names(links, 3, 11, plane: 3) == ["node0.plane3.out", "node1.plane3.in"])
        // Another plane's NIC: bytes go on inside the node.
        #expect(
            Self.names(links, 3, 12, plane: 3) == [
                "node0.plane3.out", "node1.plane3.in", "rank11.nvlink.out", "rank12.nvlink.in",
            ])
        #expect(Self.names(links, 3, 5) == ["rank3.nvlink.out", "rank5.nvlink.in"])
        // 400 Gbit/s, of which an exchange reaches 88%.
        let nic = try #require(links.index(of: "node1.plane7.in"))
        #expect(links.links[nic].bytesPerSecond == 44e9)
    }

    @Test func `ways go over the switches that the file lists`() throws {
        let links = try Self.links("four-nodes-25g-roce.yaml", ranks: 8)
        #expect(Self.names(links, 0, 2) == ["node0.plane0.out", "node1.plane0.in"])
        #expect(
            Self.names(links, 0, 7) == [
                "node0.plane0.out", "leaf0-spine0", "spine0-leaf1", "node3.plane0.in",
            ])
        let up = try #require(links.index(of: "leaf0-spine0"))
        #expect(links.links[up].bytesPerSecond == 100e9 / 8 * 0.9)
    }

    @Test func `one rank takes all planes of its node`() throws {
        let links = try Self.links("four-nodes-1g-two-planes.yaml", ranks: 4)
        #expect(links.planes(of: 2) == 0 ..< 2)
    }

    @Test func `more ranks than the file has are refused with the limit`() throws {
        let error = #expect(throws: TopologyError.self) {
            _ = try Self.links("four-nodes-25g-roce.yaml", ranks: 9)
        }
        let words = "9 ranks is out of range: four-nodes-25g-roce has 8 (nodes)"
        #expect(error.map { "\($0)".hasSuffix(words) } == true)
    }
}
