import Testing
import Topology

@testable import Cluster

/// The network that a job names, and each host's own address in it.
@Suite struct JobNetworkTests {
    private static let addresses: [JobNetwork.Address] = [
        ("lo", "127.0.0.1"), ("eth0", "192.168.3.4"), ("eth1", "10.1.2.3"), ("eth2", "10.2.0.9"),
        ("eth2", "10.2.1.9"), ("eth3", "fd00::1"),
        ("eth4:1", "172.16.5.6"),
    ]

    @Test(arguments: [
        ("10.1.0.0/16", "eth1 10.1.2.3"), ("10.1.2.3/32", "eth1 10.1.2.3"),
        ("192.168.0.0/16", "eth0 192.168.3.4"), ("10.2.1.0/24", "eth2 10.2.1.9"),
        ("eth0", "eth0 192.168.3.4"), ("172.16.0.0/12", "eth4 172.16.5.6"),
        ("eth4", "eth4 172.16.5.6"),
    ])
    func `a host finds its address in a network`(text: String, expected: String) throws {
        let own = try #require(JobNetwork(text)).own(of: Self.addresses)
        #expect(try own.map { "\($0.device) \($0.address)" }.get() == expected)
    }

    @Test(arguments: [
        ("10.3.0.0/16", "no IPv4 address in subnet 10.3.0.0/16 (network): it has lo 127.0.0.1"),
        ("10.0.0.0/8", "several addresses in subnet 10.0.0.0/8 (network): eth1 10.1.2.3, eth2"),
        ("eth2", "several addresses in device eth2 (network): eth2 10.2.0.9, eth2 10.2.1.9"),
        ("eth3", "no IPv4 address in device eth3 (network)"),
        ("ib0", "no IPv4 address in device ib0 (network)"),
    ])
    func `none or several is a fact with what there is`(text: String, expected: String) throws {
        guard case .failure(let fault) = try #require(JobNetwork(text)).own(of: Self.addresses)
        else {
            Issue.record("\(text) is found")
            return
        }
        #expect(fault.fact(text).hasPrefix(expected))
    }

    @Test(arguments: [
        "10.1.0.0/33", "10.1.0.0/0", "10.1.0/16", "10.1.0.256/16", "10.1.0.1", "eth0,eth1", "-x",
        "a-name-of-16-let", "fd00::/8",
    ])
    func `what is neither a subnet nor a device is refused`(text: String) {
        let error = #expect(throws: ClusterError.self) {
            try JobConfiguration(yaml: "model: m\nnetwork: '\(text)'", path: "a")
        }
        #expect("\(error!)".contains("network \"\(text)\" is neither an IPv4 subnet"))
    }

    @Test(arguments: ["device: eth0", "lab: a.yaml"])
    func `a network stands beside no device and no lab`(line: String) {
        let error = #expect(throws: ClusterError.self) {
            try JobConfiguration(yaml: "model: m\nnetwork: eth0\n\(line)", path: "a")
        }
        #expect("\(error!)".contains("and network"))
    }

    @Test func `a rank takes the device of its address, and agrees with the others`() throws {
        var job = try JobConfiguration(yaml: "model: m\nnetwork: 127.0.0.0/8", path: "a")
        let before = try job.commonSettings()
        try job.takeDevice(as: "rank 3 on h1")
        #expect(job.device == "lo")
        #expect(try job.commonSettings() == before)
        job.network = "240.0.0.0/8"
        let error = #expect(throws: ClusterError.self) { try job.ownAddress(as: "rank 3 on h1") }
        #expect("\(error!)".hasPrefix("rank 3 on h1: no IPv4 address in subnet 240.0.0.0/8"))
        #expect("\(error!)".contains("lo 127.0.0.1"))
    }

    // MARK: What the checks say

    private static func facts(_ network: String) throws -> JobFacts {
        var facts = try JobFactsTests.healthy()
        facts.job.network = network
        return facts
    }

    @Test(arguments: ["10.0.0.0/24", "eth0"])
    func `a network that every host is in passes`(network: String) throws {
        let facts = try Self.facts(network)
        #expect(facts.findings.allSatisfy { $0.severity == .pass })
        let line = facts.findings.first { $0.check == "network" }
        #expect(line?.fact.contains("h2 10.0.0.2 (eth0)") == true)
        #expect(facts.devices(facts.hosts[1]) == ["eth0"])
    }

    @Test func `a host outside the network is a failure with its ranks and addresses`() throws {
        var facts = try Self.facts("10.0.0.0/24")
        facts.hosts[1].survey?.cards[0].addresses = ["10.9.0.2"]
        let failures = facts.findings.filter { $0.severity == .fail && $0.check == "network" }
        #expect(failures.count == 1)
        #expect(failures[0].host == "h2 (ranks 2 to 3)")
        #expect(failures[0].fact.hasSuffix("it has eth0 10.9.0.2"))
    }

    @Test func `a launcher outside the network is a failure unless an address is named`() throws {
        var facts = try Self.facts("10.0.0.0/24")
        facts.launcher.survey?.cards[0].addresses = ["172.16.0.1"]
        #expect(facts.findings.filter { $0.check == "network" }.map(\.severity) == [.fail])
        facts.job.control = Endpoint(address: "172.16.0.1", port: 7000)
        #expect(facts.findings.filter { $0.check == "network" }.map(\.severity) == [.pass])
    }

    @Test func `a host that awaits its programs is a warning, and no failure`() throws {
        var facts = try JobFactsTests.healthy()
        facts.hosts[2].survey = nil
        facts.hosts[2].programs = HostPrograms(
            architecture: "x86_64", digest: String(repeating: "a", count: 64),
            byteCount: 62_000_000, missingBytes: 62_000_000, folder: "", isOwn: true)
        facts.links = []
        let bad = facts.findings.filter { $0.severity != .pass }
        #expect(bad.map(\.severity) == [.warn])
        #expect(bad.first?.host == "h3 (ranks 4 to 5)")
        #expect(facts.programLines == ["h3 gets 62.0 MB (x86_64, aaaaaaaaaaaa)"])
    }

    // MARK: Ranks that others start

    private static func control(
        _ rank: Int, master: String, network: String
    ) throws -> RankPlace.Control? {
        let place = try RankPlace(environment: [
            "RANK": "\(rank)", "WORLD_SIZE": "2", "MASTER_ADDR": master,
        ])
        return try place?.control(
            of: JobConfiguration(yaml: "model: m\nranks: 2\nnetwork: \(network)", path: "a"))
    }

    @Test func `rank 0 listens at its address in the subnet, and others find it there`() throws {
        let zero = try Self.control(0, master: "10.1.2.3", network: "127.0.0.0/8")
        let own = Endpoint(address: "127.0.0.1", port: 7000)
        #expect(zero == RankPlace.Control(reached: own, listening: own))
        let one = try Self.control(1, master: "10.1.2.3", network: "10.1.0.0/16")
        #expect(one == RankPlace.Control(reached: Endpoint(address: "10.1.2.3", port: 7000)))
    }

    @Test func `a rank on the machine of rank 0 takes its own address, whatever the name is here`()
    {
        let error = #expect(throws: ClusterError.self) {
            try Self.control(1, master: "localhost", network: "240.0.0.0/8")
        }
        #expect("\(error!)".hasPrefix("rank 1 on "))
        #expect("\(error!)".contains("no IPv4 address in subnet 240.0.0.0/8"))
    }

    @Test func `rank 0 outside the subnet is named with its address`() {
        let error = #expect(throws: ClusterError.self) {
            try Self.control(1, master: "192.168.9.9", network: "10.1.0.0/16")
        }
        #expect("\(error!)".contains("192.168.9.9"))
        #expect("\(error!)".contains("not in subnet 10.1.0.0/16 (network): set MASTER_ADDR"))
    }
}
