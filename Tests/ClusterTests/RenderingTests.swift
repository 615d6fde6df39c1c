import Foundation
import Testing
import Yams

@testable import Cluster

/// What other programs are given for a job.
@Suite struct RenderingTests {
    private func job(_ lines: String, name: String = "tale") throws -> JobConfiguration {
        let file = FileManager.default.temporaryDirectory.appending(path: "\(UUID()).yaml")
        defer { try? FileManager.default.removeItem(at: file) }
        let model = JobFileTests.folder.appending(path: "models/stories-fp8")
            .path(percentEncoded: false)
        let text = "name: \(name)\nmodel: \(model)\n\(lines)\n"
        try Data(text.utf8).write(to: file)
        return try JobConfiguration(contentsOf: file.path(percentEncoded: false))
    }

    private func render(_ target: Rendering.Target, _ lines: String) throws -> String {
        try Rendering(of: job(lines), file: "jobs/tale.yaml").text(for: target)
    }

    private func error(_ target: Rendering.Target, _ lines: String) throws -> String {
        let job = try job(lines)
        do throws(ClusterError) {
            _ = try Rendering(of: job, file: "tale.yaml").text(for: target)
            return ""
        } catch {
            return "\(error)"
        }
    }

    @Test func `slurm gets a script that starts every rank by srun`() throws {
        let text = try render(.slurm, "ranks: 8\nthreads: 3\ntokenFile: token")
        #expect(text.hasPrefix("#!/bin/bash\n"))
        for line in [
            "#SBATCH --job-name=tale", "#SBATCH --ntasks=8", "#SBATCH --cpus-per-task=3",
            "#SBATCH --signal=TERM@20", "    apus-worker jobs/tale.yaml",
        ] {
            #expect(text.split(separator: "\n").contains(Substring(line)), "\(line)")
        }
    }

    @Test func `a secret that tasks cannot get is an error`() throws {
        #expect(try error(.slurm, "ranks: 2").contains("tokenFile is missing"))
        #expect(try error(.ssh, "hosts: a,b").contains("tokenFile is missing"))
    }

    @Test func `hosts are for ssh alone`() throws {
        for target in [Rendering.Target.slurm, .kubernetes, .systemd] {
            let words = try error(target, "hosts: a,b\ntokenFile: token")
            #expect(words.hasPrefix("tale.yaml: hosts: "), "\(words)")
        }
    }

    private func objects(_ text: String) throws -> [[String: Any]] {
        try Array(Yams.load_all(yaml: text)).compactMap { $0 as? [String: Any] }
    }

    @Test func `kubernetes gets objects that fit together`() throws {
        let text = try render(.kubernetes, "ranks: 4\nthreads: 2\ntokenFile: token")
        let objects = try objects(text)
        let kinds = objects.map { $0["kind"] as? String ?? "" }
        #expect(kinds == ["Secret", "LeaderWorkerSet", "Service", "PodDisruptionBudget"])
        let set = try #require(objects[1]["spec"] as? [String: Any])
        let template = try #require(set["leaderWorkerTemplate"] as? [String: Any])
        #expect(template["size"] as? Int == 4)
        let pods = try ["leaderTemplate", "workerTemplate"].map { key in
            let pod = try #require(template[key] as? [String: Any])
            return try #require(pod["spec"] as? [String: Any])
        }
        let containers = try pods.map {
            try #require(($0["containers"] as? [[String: Any]])?.first)
        }
        #expect(containers[0]["readinessProbe"] != nil)
        #expect(containers[1]["readinessProbe"] == nil)
        for container in containers {
            #expect(container["command"] as? [String] == ["apus-worker", "/etc/apus/job.yaml"])
        }
        let ports = try #require(containers[0]["ports"] as? [[String: Any]])
        #expect(ports.first?["containerPort"] as? Int == 8080)
    }

    @Test func `the job in the Secret is the job with the paths of a pod`() throws {
        let text = try render(.kubernetes, "ranks: 4\ntokenFile: token\nhttp: {port: 9000}")
        let map = try #require(objects(text).first)
        let data = try #require(map["stringData"] as? [String: String])
        let file = FileManager.default.temporaryDirectory.appending(path: "\(UUID()).yaml")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(try #require(data["job.yaml"]).utf8).write(to: file)
        let own = try JobConfiguration(contentsOf: file.path(percentEncoded: false))
        var expected = try job("ranks: 4\nhttp: {address: 0.0.0.0, port: 9000}")
        expected.serving?.model = "/models/stories-fp8"
        #expect(own == expected)
    }

    @Test func `a name that Kubernetes does not take is an error`() throws {
        let job = try job("ranks: 1", name: "Tale")
        #expect {
            try Rendering(of: job, file: "tale.yaml").text(for: .kubernetes)
        } throws: { "\($0)".contains("name \"Tale\" is not a name in Kubernetes") }
    }

    @Test func `ssh gets a line per rank with the host's own settings`() throws {
        let text = try render(
            .ssh,
            """
            tokenFile: token
            control: {address: 10.0.0.9, port: 7000}
            hosts:
              - {name: a, ranks: 2, directory: "/my work", environment: {OMP: "1 2"}}
              - {name: b, user: me, programs: /opt/apus}
            """)
        let lines = text.split(separator: "\n").filter { $0.hasPrefix("ssh ") }
        let first = #"ssh a 'cd '\''/my work'\'' && OMP='\''1 2'\'' apus-worker --job "#
        let rest = "--coordinator 10.0.0.9:7000' &"
        #expect(lines.count == 3)
        #expect(lines.first == "\(first)jobs/tale.yaml --rank 0 \(rest)")
        #expect(lines.dropFirst().first == "\(first)jobs/tale.yaml --rank 1 \(rest)")
        let other = "ssh me@b '/opt/apus/apus-worker --job jobs/tale.yaml --rank 2 "
        #expect(lines.last == "\(other)\(rest)")
    }

    @Test func `ssh needs an address that hosts reach`() throws {
        #expect(
            try error(.ssh, "hosts: a,b\ntokenFile: token").contains("control 127.0.0.1:0 is not"))
    }

    @Test func `systemd gets one unit whose instances are ranks`() throws {
        let job = try job("ranks: 2")
        let text = try Rendering(of: job, file: "/srv/my 50% jobs/tale.yaml").text(for: .systemd)
        for line in [
            #"ExecStart=/usr/bin/apus-worker "/srv/my 50%% jobs/tale.yaml""#,
            "Environment=RANK=%i WORLD_SIZE=2",
            "Environment=MASTER_ADDR=127.0.0.1 MASTER_PORT=7000",
            "Environment=APUS_TOKEN_FILE=%d/token", "TimeoutStopSec=20",
        ] {
            #expect(text.split(separator: "\n").contains(Substring(line)), "\(line)")
        }
    }
}
