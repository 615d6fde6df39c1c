import Testing
import Topology

@testable import Cluster

/// Faults of folders, ports, names, devices and links, planted one by one.
@Suite struct JobFactsPlacesTests {
    @Test func `a folder that cannot be written is a failure`() throws {
        try JobFactsTests.expect(
            .fail, "folders", "head (launcher)", "/tmp cannot be written", "TMPDIR"
        ) {
            $0.launcher.survey?.folders[0].isWritable = false
        }
    }

    @Test func `a full disk is a failure, and one that is nearly full a warning`() throws {
        try JobFactsTests.expect(.fail, "folders", "h2", "has 4.1 kB free", "make room") {
            $0.hosts[1].survey?.folders[0].freeBytes = 4096
        }
        try JobFactsTests.expect(.warn, "folders", "h2", "has 8.4 MB free") {
            $0.hosts[1].survey?.folders[0].freeBytes = 8 << 20
        }
    }

    @Test func `a clock that is wrong is named with its direction`() throws {
        try JobFactsTests.expect(.warn, "clock", "h3", "61.0 s behind the launcher's") {
            $0.hosts[2].clockOffset = -61
        }
    }

    @Test func `a slow answer is no wrong clock`() throws {
        var facts = try JobFactsTests.healthy()
        (facts.hosts[2].clockOffset, facts.hosts[2].clockError) = (1.5, 1.4)
        #expect(facts.findings.allSatisfy { $0.severity == .pass })
    }

    @Test func `a port that is taken is a failure in the system's words`() throws {
        try JobFactsTests.expect(.fail, "ports", "head", "127.0.0.1:8080 cannot be listened on") {
            $0.launcher.survey?.takenPorts = [
                "http address 127.0.0.1:8080 cannot be listened on: bind: Address already in use"
            ]
        }
    }

    @Test func `a control name that is a loopback address is a failure`() throws {
        try JobFactsTests.expect(.fail, "names", "head (launcher)", "node1 is 127.0.1.1 there") {
            $0.job.control.address = "node1"
            $0.launcher.survey?.names = ["node1": "127.0.1.1"]
        }
    }

    @Test func `a control name that one host does not know is a failure`() throws {
        try JobFactsTests.expect(.fail, "names", "h2", "node1 has no address there") {
            $0.job.control.address = "node1"
            $0.hosts[1].survey?.names = ["node1": ""]
        }
    }

    @Test func `an API that listens on a loopback name is a warning`() throws {
        try JobFactsTests.expect(.warn, "names", "head (launcher)", "127.0.1.1") {
            $0.job.http.address = "head"
            $0.launcher.survey?.names = ["head": "127.0.1.1"]
        }
    }

    @Test func `a device that a host lacks is named with those it has`() throws {
        try JobFactsTests.expect(.fail, "devices", "h3", "no network device eth1", "eth0") {
            $0.job.device = "eth1"
            for index in 0 ... 1 { $0.hosts[index].survey?.cards[0].name = "eth1" }
            $0.links = []
        }
    }

    @Test func `a device that is down, or has no address, is a failure`() throws {
        try JobFactsTests.expect(.fail, "devices", "h1", "eth0 is down") {
            $0.job.device = "eth0"
            $0.hosts[0].survey?.cards[0].isUp = false
        }
        try JobFactsTests.expect(.fail, "devices", "h1", "eth0 has no IPv4 address") {
            $0.job.device = "eth0"
            $0.hosts[0].survey?.cards[0].addresses = []
        }
    }

    private static let active = HostSurvey.RDMAPort(
        name: "mlx5_0:1", isActive: true, maximumPacketBytes: 4096, gids: ["fe80::1"])

    @Test func `a job of RDMA needs an active port on every host`() throws {
        try JobFactsTests.expect(.fail, "rdma", "h2", "no RDMA port is active: mlx5_0:1") {
            $0.job.transport = .rdma
            for index in 0 ... 2 { $0.hosts[index].survey?.rdmaPorts = [Self.active] }
            $0.hosts[1].survey?.rdmaPorts[0].isActive = false
        }
    }

    @Test func `one port that is down takes RDMA from all, so it is named`() throws {
        try JobFactsTests.expect(.warn, "rdma", "h2", "auto takes TCP") {
            for index in 0 ... 2 { $0.hosts[index].survey?.rdmaPorts = [Self.active] }
            $0.hosts[1].survey?.rdmaPorts[0].isActive = false
        }
    }

    @Test func `a port without a GID is named`() throws {
        try JobFactsTests.expect(.warn, "rdma", "h3", "has no GID") {
            for index in 0 ... 2 { $0.hosts[index].survey?.rdmaPorts = [Self.active] }
            $0.hosts[2].survey?.rdmaPorts[0].gids = []
        }
    }

    @Test func `a pair that cannot connect is a failure`() throws {
        try JobFactsTests.expect(.fail, "links", "h1 -> h3", "Network is unreachable") {
            $0.links[1] = LinkMeasurement()
            ($0.links[1].from, $0.links[1].to) = ("h1", "h3")
            $0.links[1].failure = "connect failed: Network is unreachable"
        }
    }

    @Test func `packets that are lost in one direction are a failure of that direction`() throws {
        try JobFactsTests.expect(
            .fail, "links", "h3 -> h2", "short ones arrive", "ip link set eth0 mtu"
        ) {
            $0.links[2].isBackwardStuck = true
            $0.links[2].backwardRate = nil
        }
    }

    @Test func `packets of 9000 bytes that pass as 1500 are a warning`() throws {
        try JobFactsTests.expect(.warn, "packets", "h1 -> h2", "9000", "mtu 1500") {
            $0.links[0].forwardPacketBytes = 1500
        }
    }

    @Test func `a link at a tenth of the others is named`() throws {
        try JobFactsTests.expect(
            .warn, "rates", "h2 -> h1", "0.80 Gbit/s", "the middle one 8.80 Gbit/s"
        ) {
            $0.links[0].backwardRate = 1e8
        }
    }

    @Test func `rates are held against the topology file`() throws {
        var facts = try JobFactsTests.healthy()
        facts.topology = NodeMap(
            name: "map", nodes: [NodeMap.Node(name: "h1")],
            planes: [NodeMap.Plane(name: "eth0", bandwidthBitsPerSecond: 10e9)])
        #expect(facts.findings.allSatisfy { $0.severity == .pass })
        facts.links = [JobFactsTests.link(1, 2)]
        (facts.links[0].forwardRate, facts.links[0].backwardRate) = (5e8, 5e8)
        let found = facts.findings.filter { $0.severity == .warn }
        #expect(found.count == 2)
        #expect(found[0].text.contains("the topology file says 10.00 Gbit/s"))
    }

    @Test func `a finding keeps value, limit and remedy apart for programs`() throws {
        var facts = try JobFactsTests.healthy()
        facts.hosts[0].survey?.cores = 8
        let found = try #require(facts.findings.first { $0.severity == .warn })
        #expect((found.value, found.limit) == ("16", "8"))
        #expect(found.remedy == "lower threads or the host's ranks")
        #expect(found.line.hasPrefix("WARN  cores       h1 (ranks 0 to 1): "))
    }
}
