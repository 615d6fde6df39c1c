import Foundation
import Glibc
import Testing
import Topology

@testable import Cluster

@Suite struct LabPlanTests {
    static let map = NodeMap(
        name: "test-\(getpid())", nodes: [.init(name: "a"), .init(name: "b", ranks: 2)],
        planes: [
            .init(name: "plane0", bandwidthBitsPerSecond: 1e9, maximumPacketBytes: 9000),
            .init(name: "plane1"),
        ])

    @Test func `nothing is made outside the lab's namespaces`() {
        let plan = LabPlan(map: Self.map, mark: "m")
        for command in plan.building where command.words[1] != "netns" {
            #expect(command.words[1] == "-n" && plan.namespaces.contains(command.words[2]))
        }
    }

    @Test func `every namespace is marked before anything is put into it`() {
        let plan = LabPlan(map: Self.map, mark: "m")
        for name in plan.namespaces {
            let lines = plan.building.map(\.line)
            let made = lines.firstIndex(of: "ip netns add \(name)")
            #expect(made.map { lines[$0 + 1] } == "ip -n \(name) link set lo alias m")
        }
    }

    @Test func `a shaped plane is shaped at both ends and another at none`() {
        let shaping = LabPlan(map: Self.map, mark: "m").building
            .filter { $0.words[0] == "tc" }.map(\.line)
        #expect(shaping.count == 4)
        #expect(shaping.allSatisfy { $0.contains("rate 1000000000bit burst 262144") })
        // A slow link saves up less while it rests.
        #expect([0.2e9, 0.5e9, 8e9].map(LabPlan.burstBytes) == [25000, 62500, 500_000])
    }

    @Test func `processes are told their rank, node and rendezvous`() {
        let state = LabState(
            map: Self.map, mark: "m", owner: .current, isTemporary: true, isComplete: true)
        let run = LabRun(in: Lab(state: state, records: LabRecords()))
        #expect(run.processes.map(\.node.rawValue) == [0, 1, 1])
        let environment = run.environment(of: run.processes[2])
        #expect(environment["RANK"] == "2")
        #expect(environment["LOCAL_RANK"] == "1")
        #expect(environment["WORLD_SIZE"] == "3")
        #expect(environment["MASTER_ADDR"] == "10.100.0.1")
        #expect(environment["APUS_ADDRESSES"] == "10.100.0.2,10.101.0.2")
        #expect(environment["APUS_DEVICES"] == "plane0,plane1")
        let placed = run.command(Command("true"), of: run.processes[2])
        #expect(placed.words.dropFirst(3) == ["apus-\(Self.map.name)-b", "true"])
        #expect(placed.environment["APUS_NODE"] == "1")
    }
}

/// Whether this machine lets us make namespaces.
private let labIsPossible =
    geteuid() == 0
    && (try? Command("unshare", "--net", "true").run()) != nil
    && (try? Command("tc", "-V").run()) != nil

/// Builds real namespaces; only where that is allowed.
@Suite(.enabled(if: labIsPossible, "needs root and network namespaces"), .serialized)
struct LabTests {
    static func namespaces() throws -> String { try Command("ip", "netns", "list").run() }

    @Test func `a lab comes up, runs a command on every rank, and leaves nothing`() throws {
        var site = LabSite(LabPlanTests.map)
        let ending = try site.perform(
            Command("sh", "-c", "ip addr show plane1 | grep -q 10.101.0. && exit $RANK"),
            stop: StopFlag())
        #expect(ending.ends == [.exited(0), .exited(1), .exited(2)])
        #expect(try !Self.namespaces().contains(LabPlanTests.map.name))
    }

    @Test func `the links of a node are cut and joined again`() throws {
        let lab = try Lab.up(LabPlanTests.map, isTemporary: false)
        defer { try? lab.down() }
        func carriers(_ node: Int) throws -> String {
            let name = lab.state.plan.namespace(of: NodeID(rawValue: node))
            return try ["plane0", "plane1"].map { plane in
                let links = try Command("ip", "-n", name, "link", "show", plane).run()
                return links.contains("LOWER_UP") ? "up" : "cut"
            }.joined(separator: " ")
        }
        // Rank 2 is on the second node.
        try lab.cut(2, true)
        #expect(try carriers(0) == "up up" && carriers(1) == "cut cut")
        try lab.cut(2, false)
        #expect(try carriers(0) == "up up" && carriers(1) == "up up")
    }

    @Test func `a lab that is up is not built twice`() throws {
        let lab = try Lab.up(LabPlanTests.map, isTemporary: false)
        defer { try? lab.down() }
        let error = #expect(throws: ClusterError.self) {
            try Lab.up(LabPlanTests.map, isTemporary: true)
        }
        #expect("\(error!)".contains("is up, built by process \(getpid())"))
    }

    @Test func `a namespace that is not the lab's is not touched`() throws {
        let plan = LabPlan(map: LabPlanTests.map, mark: "")
        try Command("ip", "netns", "add", plan.namespaces[1]).run()
        defer { _ = try? Command("ip", "netns", "del", plan.namespaces[1]).run() }
        let error = #expect(throws: ClusterError.self) {
            try Lab.up(LabPlanTests.map, isTemporary: true)
        }
        #expect("\(error!)".contains("exists and was not made by apus lab"))
        #expect(try Self.namespaces().contains(plan.namespaces[1]))
    }

    @Test func `a namespace with another mark stops the removal of all`() throws {
        let lab = try Lab.up(LabPlanTests.map, isTemporary: false)
        let name = lab.state.plan.namespaces[1]
        try Command("ip", "-n", name, "link", "set", "lo", "alias", "someone").run()
        let error = #expect(throws: ClusterError.self) { try lab.down() }
        #expect("\(error!)".contains("does not carry the mark"))
        #expect(try Self.namespaces().contains(lab.state.plan.switchName))
        try Command("ip", "-n", name, "link", "set", "lo", "alias", lab.state.mark).run()
        try lab.down()
    }

    @Test func `what a killed builder left is removed by the next`() throws {
        // A builder that died: written down as incomplete, with one namespace made but not marked.
        let builder = try Child(Command("sleep", "60"))
        let owner = try #require(ProcessIdentity(pid: builder.pid))
        builder.end(within: .seconds(5))
        let state = LabState(
            map: LabPlanTests.map, mark: "gone", owner: owner, isTemporary: true,
            isComplete: false)
        try LabRecords().claim(state)
        try Command("ip", "netns", "add", state.plan.switchName).run()
        let lab = try Lab.up(LabPlanTests.map, isTemporary: true)
        try lab.down()
        #expect(try !Self.namespaces().contains(LabPlanTests.map.name))
    }

    @Test func `what a killed job left is removed with its processes by whoever comes next`() throws
    {
        let builder = try Child(Command("sleep", "60"))
        let owner = try #require(ProcessIdentity(pid: builder.pid))
        var lab = try Lab.up(LabPlanTests.map, isTemporary: true)
        var state = lab.state
        state.owner = owner
        try LabRecords().update(state)
        lab = Lab(state: state, records: LabRecords())
        let inside = try Child(
            Command("ip", "netns", "exec", state.plan.namespaces[1], "sleep", "60"))
        #expect(!Lab.removeAbandoned().contains { $0.contains(LabPlanTests.map.name) })
        builder.end(within: .seconds(5))
        let lines = Lab.removeAbandoned().filter { $0.contains(LabPlanTests.map.name) }
        #expect(lines.count == 1)
        #expect(lines.first?.hasSuffix(", whose process \(owner.pid) is gone") == true)
        #expect(try !Self.namespaces().contains(LabPlanTests.map.name))
        #expect(inside.wait(.seconds(5)) != nil)
    }
}
