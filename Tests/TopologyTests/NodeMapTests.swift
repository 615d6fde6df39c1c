import Foundation
import Testing
import Topology

@Suite struct NodeMapTests {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../topology").standardized

    static func files() -> [String] {
        let names =
            (try? FileManager.default.contentsOfDirectory(
                atPath: folder.path(percentEncoded: false))) ?? []
        return names.filter { $0.hasSuffix(".yaml") }.sorted()
    }

    @Test(arguments: files()) func `every topology file loads`(name: String) throws {
        let map = try NodeMap(
            contentsOf: Self.folder.appending(path: name).path(percentEncoded: false))
        #expect(map.name + ".yaml" == name)
    }

    @Test func `rates, defaults and addresses are read`() throws {
        let map = try NodeMap(
            contentsOf: Self.folder.appending(path: "four-nodes-1g-two-planes.yaml").path(
                percentEncoded: false))
        #expect(map.nodes.count == 4)
        #expect(map.planes.map(\.bandwidthBitsPerSecond) == [1e9, 1e9])
        #expect(map.planes[1].maximumPacketBytes == 9000)
        #expect(map.address(of: 2, plane: 1) == "10.101.0.3")
    }

    @Test func `ranks are dealt node after node`() throws {
        let map = NodeMap(
            name: "uneven", nodes: [.init(name: "a", ranks: 1), .init(name: "b", ranks: 3)],
            planes: [.init(name: "plane0")])
        #expect(map.ranks(on: 1) == 1 ..< 4)
        #expect((0 ..< 4).map { map.node(of: Rank(rawValue: $0)).rawValue } == [0, 1, 1, 1])
    }

    @Test(arguments: [
        ("name: x\nnodes: [{name: a}]\nplanes: []", "0 planes"),
        ("name: x\nnodes: []\nplanes: [{name: p}]", "0 nodes"),
        ("name: x\nnodes: [{name: a}, {name: a}]\nplanes: [{name: p}]", "two nodes have one name"),
        ("name: x/y\nnodes: [{name: a}]\nplanes: [{name: p}]", "x/y"),
        ("name: x\nnodes: [{name: a, rank: 3}]\nplanes: [{name: p}]", "unknown key \"rank\""),
        ("name: x\nnodes: [{name: a}]\nplanes: [{name: p, gigabitsPerSecond: fast}]", "planes"),
        ("name: x\nnodes: [{name: a, ranks: -1}]\nplanes: [{name: p}]", "ranks -1"),
        ("name: x\nnodes: [{name: a}]\nplanes: [{name: a-very-long-nic-name}]", "15 letters"),
        ("nodes: [{name: a}]\nplanes: [{name: p}]", "name is missing"),
        (
            "name: x\nnodes: [{name: a}]\nplanes:\n  - {name: p, gigabitsPerSecond: 0}",
            "line 4: planes[0].gigabitsPerSecond 0 is not 0.0001 to 10000"
        ),
        ("name: x\nnodes: [{name: a, count: 65537}]\nplanes: [{name: p}]", "count 65537"),
        ("just text", "not a mapping"),
        ("a: [", "2:1"),
    ])
    func `a bad file is refused with the file, the field and the limit`(yaml: String, words: String)
    {
        let error = #expect(throws: TopologyError.self) {
            try NodeMap(yaml: yaml, path: "bad.yaml")
        }
        #expect("\(error!)".hasPrefix("bad.yaml: "))
        #expect("\(error!)".contains(words))
    }

    @Test func `a file that is not there is named`() {
        let error = #expect(throws: TopologyError.self) { try NodeMap(contentsOf: "/no/such.yaml") }
        #expect("\(error!)".contains("/no/such.yaml"))
    }
}
