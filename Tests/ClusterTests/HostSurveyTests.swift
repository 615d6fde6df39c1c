import Foundation
import Testing
import Topology

@testable import Cluster

@Suite struct HostSurveyTests {
    /// A folder with the stated files.
    private func folder(_ files: [String: Data]) throws -> String {
        let root = try LaunchTests.temporaryFolder()
        for (name, bytes) in files {
            let file = root.appending(path: name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try bytes.write(to: file)
        }
        return root.path(percentEncoded: false)
    }

    private static func weights(_ header: String, _ bytes: Int) -> Data {
        let length = (0 ..< 8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) }
        return Data(length + Array(header.utf8)) + Data(count: bytes)
    }

    private static let header =
        #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"#
        + #""b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#

    @Test func `a whole model folder has no fault`() throws {
        let root = try folder([
            "config.json": Data("{}".utf8), "model.safetensors": Self.weights(Self.header, 12),
        ])
        defer { try? FileManager.default.removeItem(atPath: root) }
        for isWhole in [false, true] {
            let model = HostSurvey.Model(folder: root, isWhole: isWhole)
            #expect(model.faults.isEmpty)
            #expect(model.files.keys.sorted() == ["config.json", "model.safetensors"])
            #expect(model.weightBytes == 20 + Self.header.utf8.count)
        }
    }

    @Test func `a file that ends before its last tensor is cut short`() throws {
        let root = try folder([
            "config.json": Data("{}".utf8), "model.safetensors": Self.weights(Self.header, 11),
        ])
        defer { try? FileManager.default.removeItem(atPath: root) }
        let fault = HostSurvey.Model(folder: root, isWhole: false).faults.first
        let size = 19 + Self.header.utf8.count
        #expect(
            fault == "model.safetensors is cut short: it has \(size) bytes of \(size + 1) (its"
                + " header says so)")
    }

    @Test(arguments: [Data(), Data([1, 2, 3]), Data([255, 0, 0, 0, 0, 0, 0, 0, 1])])
    func `a file that ends in its header is cut short`(bytes: Data) throws {
        let root = try folder(["config.json": Data("{}".utf8), "model.safetensors": bytes])
        defer { try? FileManager.default.removeItem(atPath: root) }
        #expect(HostSurvey.Model(folder: root, isWhole: false).faults.count == 1)
    }

    @Test func `a file that the index names and nobody copied is missing`() throws {
        let index = #"{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#
        let root = try folder([
            "config.json": Data("{}".utf8), "model.safetensors.index.json": Data(index.utf8),
            "model-1.safetensors": Self.weights(Self.header, 12),
        ])
        defer { try? FileManager.default.removeItem(atPath: root) }
        #expect(
            HostSurvey.Model(folder: root, isWhole: true).faults
                == ["model-2.safetensors is missing (model.safetensors.index.json)"])
    }

    @Test func `a folder that is not there is a fault and no error`() {
        #expect(
            HostSurvey.Model(folder: "/nosuch", isWhole: true).faults
                == ["there is no such folder"])
    }

    @Test func `limits of control groups and of the kernel are read`() throws {
        let files = [
            "proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/memory.max": "1073741824",
            "sys/fs/cgroup/a/b/memory.max": "max", "sys/fs/cgroup/a/b/cpu.max": "150000 100000",
            "sys/fs/cgroup/a/cpu.max": "max 100000", "sys/fs/cgroup/a/b/pids.max": "64",
            "proc/self/limits":
                "Limit  Soft  Hard  Units\nMax open files   1024   4096   files\n"
                + "Max locked memory   65536   65536   bytes\n",
            "proc/self/status": "CapEff:\t0000000000000000\n",
            "proc/meminfo":
                "MemTotal: 2048 kB\nMemAvailable: 1024 kB\nCommitLimit: 900 kB\n"
                + "Committed_AS: 400 kB\n", "proc/sys/vm/overcommit_memory": "2",
            "sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]",
        ]
        let root = try folder(files.mapValues { Data($0.utf8) })
        defer { try? FileManager.default.removeItem(atPath: root) }
        let job = try JobConfiguration(yaml: "model: /nosuch", path: "job.yaml")
        let survey = HostSurvey(
            of: job, part: .ranks, isWhole: false, instruments: nil, root: root)
        #expect(survey.memory.groupLimitBytes == 1 << 30)
        #expect(survey.memory.totalBytes == 2048 << 10)
        #expect(survey.memory.availableBytes == 1024 << 10)
        #expect(survey.memory.commitLeftBytes == 500 << 10)
        #expect(survey.memory.hugePages == "never")
        #expect(survey.limits.cores == 1.5)
        #expect(survey.limits.processes == 64)
        #expect(survey.limits.openFiles == 4096)
        #expect(survey.limits.lockedBytes == 65536)
    }

    @Test func `the capability to lock memory lifts its limit`() throws {
        let files = [
            "proc/self/limits": "Max locked memory   65536   65536   bytes\n",
            "proc/self/status": "CapEff:\t0000000000004000\n",
        ]
        let root = try folder(files.mapValues { Data($0.utf8) })
        defer { try? FileManager.default.removeItem(atPath: root) }
        let job = try JobConfiguration(yaml: "model: /nosuch", path: "job.yaml")
        let survey = HostSurvey(
            of: job, part: .ranks, isWhole: false, instruments: nil, root: root)
        #expect(survey.limits.lockedBytes == nil)
    }

    @Test func `a survey and a link cross the wire unchanged`() throws {
        let survey = HostFrame.surveyed(JobFactsTests.survey(1))
        #expect(HostFrame(line: survey.line) == survey)
        let link = HostFrame.measured(JobFactsTests.link(1, 2))
        #expect(HostFrame(line: link.line) == link)
    }

    @Test func `the clock of a host is told by the quickest answer`() throws {
        var answers = HostAnswers()
        answers.asked(.clock)
        answers.take(.time(seconds: Date().timeIntervalSince1970 + 100))
        let clock = try #require(answers.clock)
        #expect(abs(clock.offset - 100) < 1)
        #expect(clock.error >= 0)
    }

    @Test(arguments: 0 ... 9)
    func `every pair of hosts is measured once, and no host is in two pairs`(hosts: Int) {
        let rounds = LinkSurvey.rounds(of: hosts)
        for round in rounds {
            let all = round.flatMap { [$0.0, $0.1] }
            #expect(Set(all).count == all.count)
        }
        let pairs = rounds.flatMap { $0 }.map { "\($0.0)-\($0.1)" }
        #expect(Set(pairs).count == hosts * (hosts - 1) / 2)
        #expect(pairs.count == Set(pairs).count)
        #expect(rounds.joined().allSatisfy { $0.0 < $0.1 && $0.1 < hosts })
    }

    @Test func `the cache that fits is shared by the ranks of one machine`() throws {
        var facts = try JobFactsTests.healthy()
        // 60 GiB less 2 ranks of 1 GiB, over 2 ranks of 1 KiB a token.
        #expect(facts.fittingTokens(facts.hosts[0]) == 29 << 20)
        for index in 0 ... 2 { facts.hosts[index].survey?.machine = "one" }
        #expect(facts.fittingTokens(facts.hosts[0]) == 9 << 20)
        facts.hosts[0].survey?.memory.availableBytes = 0
        #expect(facts.fittingTokens(facts.hosts[0]) == 0)
    }

    @Test func `commands of a plan name every rank, host by host`() throws {
        let job = try JobConfiguration(
            yaml: """
                model: /m
                ranks: 3
                control: {address: 10.0.0.9, port: 7000}
                hosts:
                  - {name: a, ranks: 2, user: me, directory: /srv, environment: {X: 'a b'}}
                  - {name: b, programs: /opt/bin}
                """, path: "job.yaml")
        let hosts = [
            CheckedHost(name: "a", ranks: 0 ..< 2), CheckedHost(name: "b", ranks: 2 ..< 3),
        ]
        let plan = LaunchCommands.of(job, hosts: hosts, programs: URL(filePath: "/bin"))
        #expect(plan.map(\.host) == ["launcher", "a", "b"])
        #expect(plan[1].lines[0].contains("me@a"))
        #expect(
            plan[1].lines[2]
                == "env -C /srv 'X=a b' /bin/apus-worker --job job.yaml --rank 1 --coordinator"
                + " 10.0.0.9:7000")
        #expect(plan[2].lines[1].hasPrefix("/opt/bin/apus-worker --job job.yaml --rank 2"))
    }
}
