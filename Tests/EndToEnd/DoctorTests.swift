import Foundation
import Testing

/// Dry runs of jobs: the programs, as a person starts them.
@Suite(.serialized) struct DoctorTests {
    /// A job file in a folder that goes with the test.
    private func withJob(_ lines: String, _ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "apus-doctor-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: "job.yaml")
        try Data("model: \(RunningJob.model)\n\(lines)\n".utf8).write(to: file)
        try body(file.path(percentEncoded: false))
    }

    private func object(_ output: String) throws -> [String: Any] {
        try #require(
            try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
    }

    @Test func `a local job passes, and programs read every finding`() throws {
        try withJob("http: {address: 127.0.0.1, port: 0}") { file in
            let (status, output) = try RunningJob.run("apus", ["doctor", file, "--json"])
            #expect(status == 0, "\(output)")
            let report = try object(output)
            #expect(report["failures"] as? Int == 0)
            let findings = try #require(report["findings"] as? [[String: String]])
            #expect(findings.contains { $0["check"] == "programs" && $0["severity"] == "PASS" })
            let model = findings.first { $0["check"] == "model" }
            #expect(model?["fact"]?.contains("files everywhere") == true)
        }
    }

    @Test func `a model that is not there fails with 1 and the remedy`() throws {
        let folder = FileManager.default.temporaryDirectory.path(percentEncoded: false)
        try withJob("http: {address: 127.0.0.1, port: 0}") { file in
            let text = "model: \(folder)no-such-model\nhttp: {address: 127.0.0.1, port: 0}\n"
            try Data(text.utf8).write(to: URL(filePath: file))
            let (status, output) = try RunningJob.run("apus", ["doctor", file])
            #expect(status == 1)
            #expect(output.contains("there is no such folder; copy"))
            #expect(output.contains(", 1 failure"))
        }
    }

    @Test(arguments: ["doctor", "plan"])
    func `a job file with an unknown key ends with 2 and one line`(command: String) throws {
        try withJob("rank: 2") { file in
            let (status, output) = try RunningJob.run("apus", [command, file])
            #expect(status == 2)
            #expect(output.contains("unknown key \"rank\""))
            #expect(output.split(separator: "\n").count == 1)
        }
    }

    @Test func `a plan shares out experts and bytes, and names every command`() throws {
        try withJob("ranks: 3\nlimits: {cacheTokens: 4096}") { file in
            let (status, output) = try RunningJob.run("apus", ["plan", file, "--json"])
            #expect(status == 0, "\(output)")
            let plan = try object(output)
            let host = try #require((plan["hosts"] as? [[String: Any]])?.first)
            let experts = try #require(host["experts"] as? [Int])
            #expect(experts.count == 3)
            // The model has 16 experts, shared out as evenly as it goes.
            #expect(experts.reduce(0, +) == 16)
            let needed = try #require(host["neededBytes"] as? Int)
            let weights = try #require(host["weightBytes"] as? [Int])
            let token = try #require(plan["cacheBytesPerToken"] as? Int)
            #expect(needed == weights.reduce(0, +) + 3 * 4096 * token)
            let commands = try #require(plan["commands"] as? [[String: Any]])
            let lines = commands.flatMap { $0["lines"] as? [String] ?? [] }
            #expect(lines.count == 4)
            #expect(lines.last?.contains("--rank 2") == true)
        }
    }
}
