import Foundation
import Testing

@testable import Topology

/// What the planner reads of a topology file.
@Suite struct HardwareTests {
    private static let head = "name: x\nnodes: [{name: a}, {name: b}]\nplanes: [{name: p}]\n"

    @Test func `a count makes nodes with numbers, and rates are read in units of code`() throws {
        let map = try NodeMap(
            yaml: """
                name: x
                nodes: [{name: n, count: 3, ranks: 2}]
                planes: [{name: p, gigabitsPerSecond: 100, efficiency: 0.9, microseconds: 2}]
                processor: {kind: c, memoryGigabytes: 64, memoryGigabytesPerSecond: 100,
                  bf16TeraflopsPerSecond: 2}
                intranode: {kind: shm, gigabytesPerSecond: 10}
                exchangeMicroseconds: 30
                """, path: "x.yaml")
        #expect(map.nodes.map(\.name) == ["n0", "n1", "n2"] && map.rankCount == 6)
        #expect(map.planes[0].efficiency == 0.9 && map.planes[0].latencySeconds == 2e-6)
        let hardware = try #require(map.hardware)
        #expect(hardware.processor?.fp8OperationsPerSecond == 2e12)
        #expect(hardware.intranode?.bytesPerSecond == 10e9 && hardware.exchangeSeconds == 30e-6)
    }

    @Test func `a file without these keys has no hardware, and a large one is no lab`() throws {
        #expect(try NodeMap(yaml: Self.head, path: "x").hardware == nil)
        let large = try NodeMap(
            yaml: "name: x\nnodes: [{name: n, count: 255}]\nplanes: [{name: p}]", path: "x")
        let error = TopologyError.file(
            path: "x", reason: "255 nodes: a lab has addresses for 254")
        #expect(throws: error) { try large.validateAsLab(path: "x") }
    }

    @Test(
        arguments: [
            ("processor: {kind: c}", "line 4: processor.memoryGigabytes is missing"),
            (
                "processor: {kind: c, memoryGigabytes: 0}",
                "line 4: processor.memoryGigabytes 0 is not 0.001 to 1000000"
            ),
            ("prosessor: {kind: c}", "line 4: unknown key \"prosessor\""),
            ("processor: {cores: 3}", "unknown key \"cores\" in processor"),
            (
                "intranode: {kind: rope, gigabytesPerSecond: 1}",
                "\"rope\" is none of shm, nvlink, pcie"
            ),
            ("intranode: {kind: shm, gigabytesPerSecond: 0}", "gigabytesPerSecond 0 is not 0.001"),
            ("network: {family: ring, radix: 4}", "\"ring\" is none of one-switch"),
            ("network: {family: fat-tree-2, radix: 5}", "network.radix 5 is odd"),
            ("network: {family: slim-fly, radix: 64}", "network.order is missing"),
            (
                "network: {family: slim-fly, radix: 64, order: 29}",
                "network.order 29 needs 65 ports"
            ),
            ("network: {family: one-switch, radix: 2, planes: joined}\nabout: 3", "ok"),
            ("prices: {switchDollars: -1}", "prices.switchDollars -1 is not 0 to"),
            ("exchangeMicroseconds: soon", "exchangeMicroseconds \"soon\" is not a number"),
            ("machine: [1]", "line 4: machine is not a mapping"),
            (
                "switches:\n  - {name: s, plane: p, radix: 4, nodes: [a, b], above: [t]}\n"
                    + "  - {name: t, plane: p, radix: 4, above: [s]}",
                "the levels of p are cyclic: s below t below s"
            ),
            (
                "switches:\n  - {name: s, plane: p, radix: 4, nodes: [a]}\n"
                    + "  - {name: t, plane: p, radix: 4, nodes: [b]}",
                "p is disconnected: no way from a to b"
            ),
            (
                "switches: [{name: s, plane: p, radix: 4, nodes: [a]}]",
                "p is disconnected: b is plugged into no switch"
            ),
            (
                "switches: [{name: s, plane: p, radix: 2, nodes: [a, b], above: [s]}]",
                "s uses 4 ports: radix is 2"
            ),
            ("switches: [{name: s, plane: p, radix: 4, nodes: [c]}]", "there is no node \"c\""),
            (
                "switches: [{name: s, plane: q, radix: 4, nodes: [a]}]", "there is no plane \"q\""
            ),
            (
                "switches: [{name: s, plane: p, radix: 4, above: [z]}]",
                "s.above: p has no switch \"z\""
            ),
        ] as [(String, String)])
    func `bad hardware is refused with the file, the line, the field and the limit`(
        yaml: String, words: String
    ) throws {
        guard words != "ok" else {
            #expect(try NodeMap(yaml: Self.head + yaml, path: "bad.yaml").about == "3")
            return
        }
        let error = #expect(throws: TopologyError.self) {
            try NodeMap(yaml: Self.head + yaml, path: "bad.yaml")
        }
        let text = "\(try #require(error))"
        #expect(text.hasPrefix("bad.yaml: ") && text.contains(words), "\(text)")
        #expect(!text.contains("\n"))
    }

    @Test func `the schema has the keys that the reader knows`() throws {
        let data = try Data(
            contentsOf: NodeMapTests.folder.appending(path: "topology.schema.json"))
        let schema = try #require(
            try JSONSerialization.jsonObject(with: data) as? [String: Any])
        let properties = try #require(schema["properties"] as? [String: Any])
        for (part, keys) in NodeMap.knownKeys {
            var place = part.isEmpty ? properties : [:]
            if !part.isEmpty {
                let section = try #require(properties[part] as? [String: Any])
                let items = section["items"] as? [String: Any] ?? section
                place = items["properties"] as? [String: Any] ?? [:]
            }
            #expect(Set(place.keys) == keys, "\(part)")
        }
    }
}
