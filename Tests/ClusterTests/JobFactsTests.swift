import Foundation
import Testing
import Topology

@testable import Cluster

/// Facts of a healthy job on three hosts, into which each test plants one fault.
@Suite struct JobFactsTests {
    /// A host as it should be.
    static func survey(_ number: Int) -> HostSurvey {
        var survey = HostSurvey()
        survey.version = ApusVersion.current
        survey.protocolVersion = ControlProtocol.version
        survey.build = "b"
        survey.machine = "boot\(number)"
        survey.processorLevel = "avx2"
        survey.cores = 16
        survey.memory.totalBytes = 64 << 30
        survey.memory.availableBytes = 60 << 30
        survey.memory.hugePages = "madvise"
        survey.memory.sharedTotalBytes = 32 << 30
        survey.memory.sharedFreeBytes = 32 << 30
        survey.limits.openFiles = 4096
        survey.folders = [
            HostSurvey.Folder(
                path: "/tmp", freeBytes: 8 << 30, isWritable: true, remedy: "TMPDIR names another")
        ]
        survey.model = HostSurvey.Model(
            path: "/m", files: ["config.json": "1", "model.safetensors": "2"],
            weightBytes: 6 << 30)
        survey.cards = [
            HostSurvey.Card(
                name: "eth0", isUp: true, maximumPacketBytes: 9000,
                addresses: ["10.0.0.\(number)"])
        ]
        return survey
    }

    static func link(_ from: Int, _ to: Int) -> LinkMeasurement {
        var link = LinkMeasurement()
        (link.from, link.to) = ("h\(from)", "h\(to)")
        (link.localAddress, link.address) = ("10.0.0.\(from)", "10.0.0.\(to)")
        link.roundTripSeconds = 2e-5
        (link.forwardRate, link.backwardRate) = (1.1e9, 1.2e9)
        (link.forwardPacketBytes, link.backwardPacketBytes) = (9000, 9000)
        return link
    }

    static func healthy() throws -> JobFacts {
        let job = try JobConfiguration(
            yaml: "model: /m\nhosts: 'h[1-3]:2'\nranks: 6\nthreads: 8", path: "job.yaml")
        let hosts = (1 ... 3).map { number in
            var host = CheckedHost(
                name: "h\(number)", ranks: 2 * number - 2 ..< 2 * number, survey: survey(number))
            (host.clockOffset, host.clockError) = (0.002, 0.001)
            return host
        }
        var facts = JobFacts(
            job: job, launcher: CheckedHost(name: "head", ranks: 0 ..< 0, survey: survey(9)),
            hosts: hosts)
        facts.links = [link(1, 2), link(1, 3), link(2, 3)]
        facts.demand = JobDemand(
            experts: [Int](repeating: 4, count: 6),
            weightBytes: [Int](repeating: 1 << 30, count: 6),
            cacheBytesPerToken: 1 << 10)
        return facts
    }

    /// Plants a fault in the facts, and expects exactly one finding, with these words.
    static func expect(
        _ severity: Finding.Severity, _ check: String, _ words: String...,
        plant: (inout JobFacts) throws -> Void
    ) throws {
        var facts = try healthy()
        try plant(&facts)
        let found = facts.findings.filter { $0.severity != .pass }
        #expect(found.count == 1, "\(found.map(\.line))")
        #expect(found.first?.severity == severity)
        #expect(found.first?.check == check)
        for word in words { #expect(found.first?.text.contains(word) == true, "\(found)") }
    }

    @Test func `a healthy job has no finding, and every rule says so`() throws {
        let findings = try Self.healthy().findings
        #expect(findings.allSatisfy { $0.severity == .pass }, "\(findings.map(\.line))")
        #expect(findings.count == 20)
        #expect(findings.allSatisfy { !$0.fact.isEmpty && !$0.check.isEmpty })
    }

    @Test func `a launch warns of nothing on healthy hosts`() throws {
        #expect(try Self.healthy().launchFindings.isEmpty)
    }

    @Test func `ranks that share cores on purpose do not make a launch warn`() throws {
        var facts = try Self.healthy()
        facts.hosts[0].survey?.cores = 2
        #expect(facts.launchFindings.isEmpty)
        #expect(facts.findings.contains { $0.check == "cores" && $0.severity == .warn })
    }

    @Test func `a host that does not answer is named by the words of its connection`() throws {
        try Self.expect(.fail, "hosts", "host h2 (ranks 2 to 3): ssh asks for a password") {
            $0.hosts[1].survey = nil
            $0.hosts[1].failure = "host h2 (ranks 2 to 3): ssh asks for a password"
        }
    }

    @Test func `hosts that cannot find the launcher are a failure`() throws {
        try Self.expect(.fail, "hosts", "another machine") {
            $0.hiddenLauncher = "host h1 sees this machine as 1.2.3.4: another machine's"
        }
    }

    @Test func `another version of the programs is named with both versions`() throws {
        try Self.expect(.fail, "programs", "h3 (ranks 4 to 5)", "apus 0.0.1", ApusVersion.current) {
            $0.hosts[2].survey?.version = "0.0.1"
        }
    }

    @Test func `another version of the control plane is a failure`() throws {
        try Self.expect(.fail, "programs", "h1", "control plane 3") {
            $0.hosts[0].survey?.protocolVersion = 3
        }
    }

    @Test func `another build of the same version is named`() throws {
        try Self.expect(.fail, "programs", "h2", "another build: c") {
            $0.hosts[1].survey?.build = "c"
        }
    }

    @Test func `unlike processors are named`() throws {
        try Self.expect(.warn, "processor", "h2 avx512", "h1 avx2") {
            $0.hosts[1].survey?.processorLevel = "avx512"
        }
    }

    @Test func `more threads than cores are named`() throws {
        try Self.expect(.warn, "cores", "2 ranks of 8 threads share 8 cores") {
            $0.hosts[0].survey?.cores = 8
        }
    }

    @Test func `the cores of a control group count, not those of the machine`() throws {
        try Self.expect(.warn, "cores", "share 1.5 cores", "cpu.max") {
            $0.hosts[0].survey?.limits.cores = 1.5
        }
    }

    @Test func `another model is found by its first differing file`() throws {
        try Self.expect(.fail, "model", "h2", "config.json is 7", "the launcher's is 1") {
            $0.hosts[1].survey?.model?.files["config.json"] = "7"
        }
    }

    @Test func `a model file that one host lacks is found`() throws {
        try Self.expect(.fail, "model", "h2", "model.safetensors is not there") {
            $0.hosts[1].survey?.model?.files["model.safetensors"] = nil
        }
    }

    @Test func `a model file that is cut short is found`() throws {
        try Self.expect(.fail, "model", "h3", "is cut short", "copy /m there again") {
            $0.hosts[2].survey?.model?.faults = ["model.safetensors is cut short: it has 1 of 2"]
        }
    }

    @Test func `a host without the memory that its ranks need is a failure`() throws {
        try Self.expect(.fail, "memory", "h1 (ranks 0 to 1)", "need 2.3 GB", "has 2.1 GB") {
            $0.hosts[0].survey?.memory.totalBytes = 2 << 30
            $0.hosts[0].survey?.memory.availableBytes = 1 << 30
        }
    }

    @Test func `memory that is in use is a warning`() throws {
        try Self.expect(.warn, "memory", "h1", "2.1 GB are free") {
            $0.hosts[0].survey?.memory.availableBytes = 2 << 30
        }
    }

    @Test func `the memory of a control group counts, not that of the machine`() throws {
        try Self.expect(.fail, "memory", "h1", "has 1.1 GB (MemTotal, or its control group)") {
            $0.hosts[0].survey?.memory.groupLimitBytes = 1 << 30
        }
    }

    @Test func `hosts that are one machine share its memory`() throws {
        try Self.expect(.warn, "memory", "h1 (ranks 0 to 1), h2 (ranks 2 to 3)", "need 4.6 GB") {
            for index in 0 ... 1 {
                $0.hosts[index].survey?.machine = "one"
                $0.hosts[index].survey?.memory.availableBytes = 3 << 30
            }
        }
    }

    @Test func `a kernel that does not overcommit is held against what ranks reserve`() throws {
        try Self.expect(.fail, "reserve", "h2", "vm.overcommit_memory=2") {
            $0.hosts[1].survey?.memory.overcommit = 2
            $0.hosts[1].survey?.memory.commitLeftBytes = 1 << 30
        }
    }

    @Test func `a small shared memory matters to UCX`() throws {
        try Self.expect(.warn, "shm", "h1", "/dev/shm has 67.1 MB free") {
            $0.job.transport = .ucx
            $0.hosts[0].survey?.memory.sharedFreeBytes = 64 << 20
        }
    }

    @Test func `huge pages that are switched off are named`() throws {
        try Self.expect(.warn, "pages", "h3", "transparent_hugepage") {
            $0.hosts[2].survey?.memory.hugePages = "never"
        }
    }

    @Test func `a limit of locked memory matters where there is RDMA`() throws {
        let port = HostSurvey.RDMAPort(
            name: "mlx5_0:1", isActive: true, maximumPacketBytes: 4096, gids: ["::1"])
        try Self.expect(.warn, "memlock", "h2", "8.4 MB may be locked", "ulimit -l") {
            for index in 0 ... 2 { $0.hosts[index].survey?.rdmaPorts = [port] }
            $0.hosts[1].survey?.limits.lockedBytes = 8 << 20
        }
        try Self.expect(.fail, "memlock", "h2") {
            $0.job.transport = .rdma
            for index in 0 ... 2 { $0.hosts[index].survey?.rdmaPorts = [port] }
            $0.hosts[1].survey?.limits.lockedBytes = 8 << 20
        }
    }

    @Test func `few open files are named with what a rank opens`() throws {
        try Self.expect(.fail, "limits", "h1", "opens up to 76 files; the limit is 64") {
            $0.hosts[0].survey?.limits.openFiles = 64
        }
    }

    @Test func `few processes of a control group are named`() throws {
        try Self.expect(.fail, "limits", "h1", "48 threads", "allows 20", "pids.max") {
            $0.hosts[0].survey?.limits.processes = 20
        }
    }
}
