import Foundation
import Glibc
import Testing

/// Jobs that a rank leaves on purpose while they answer.
@Suite(.serialized) struct RankDrainTests {
    private static let key = "the-key-of-who-runs-the-job"

    /// A job of four ranks with an admin's key.
    private static func job(more: String) throws -> (job: RunningJob, keys: URL) {
        let keys = FileManager.default.temporaryDirectory
            .appending(path: "apus-keys-\(UUID().uuidString).yaml")
        let path = keys.path(percentEncoded: false)
        let isWritten = FileManager.default.createFile(
            atPath: path, contents: Data("operator: {key: \(key), admin: true}".utf8),
            attributes: [.posixPermissions: 0o600])
        try #require(isWritten)
        return (
            try RunningJob(ranks: 4, transport: "auto", more: "\(more)\napi: {keyFile: \(path)}"),
            keys
        )
    }

    @Test(arguments: ["", "redundantExperts: 4"])
    func `a rank leaves and comes back, and no text knows`(more: String) async throws {
        let (job, keys) = try Self.job(more: "restart: always\n\(more)")
        defer { try? FileManager.default.removeItem(at: keys) }
        let client = Client(try job.waitUntilServing(), key: Self.key)
        let expected = try await StreamedTexts.all(client)
        let victim = try #require(job.workers(rank: 2).first)
        let during = try await StreamedTexts.all(client) {
            let (status, output) = try job.apus(["drain", "test", "--rank", "2"])
            #expect(status == 0 && output.contains("rank 2 of "), "\(output)")
        }
        #expect(during == expected)
        let health = try await SurvivalTests.wait(for: "degraded", client)
        #expect(health.contains(#""drained_ranks":[2]"#) && !health.contains("lost"), "\(health)")
        let limit = ContinuousClock.now + .seconds(20)
        while job.workers(rank: 2) == [victim], .now < limit {
            try await Task.sleep(for: .milliseconds(20))
        }
        let shown = try job.apus(["status"]).output
        #expect(shown.contains("drained: it comes back when it is started by hand"), "\(shown)")
        let again = try job.apus(["drain", "test", "--rank", "2"])
        #expect(again.status == 2 && again.output.contains("rank 2 is drained already"))
        let none = try job.apus(["drain", "test", "--rank", "9"])
        #expect(none.status == 2 && none.output.contains("rank 9 is out of range"))
        // The launcher said why it does nothing, and did nothing for longer than it would wait.
        try await Task.sleep(for: .milliseconds(1500))
        #expect(job.workers(rank: 2).isEmpty)
        #expect(job.output.contains("it was drained, and is not started again"), "\(job.output)")
        // The ranks that stay wrote no last events of it: it was not lost.
        let records = try Self.flightRecords(of: job)
        #expect(!records.contains { $0.contains("rank 2 ") }, "\(records)")
        #expect(try await StreamedTexts.all(client) == expected)

        let worker = try Self.start(job, rank: 2)
        defer { worker.terminate() }
        try await StreamedTexts.repeated(client, until: "ready", expecting: expected)
        #expect(job.stop() == 0, "\(job.errors)")
        #expect(worker.exitStatus(within: 20) == 0)
        job.expectNothingLeft()
    }

    @Test func `while a rank is lost none leaves`() async throws {
        let (job, keys) = try Self.job(more: "restart: never")
        defer { try? FileManager.default.removeItem(at: keys) }
        let client = Client(try job.waitUntilServing(), key: Self.key)
        kill(try #require(job.workers(rank: 1).first), SIGKILL)
        _ = try await SurvivalTests.wait(for: "degraded", client)
        let (status, output) = try job.apus(["drain", "test", "--rank", "3"])
        #expect(status == 2 && output.contains("rank 1 is lost: ask again"), "\(output)")
        let lost = try job.apus(["drain", "test", "--rank", "1"])
        #expect(lost.status == 2 && lost.output.contains("rank 1 is lost: "), "\(lost.output)")
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    /// What ranks wrote when something went wrong.
    private static func flightRecords(of job: RunningJob) throws -> [String] {
        let folder = try URL(filePath: job.resolvedJob).deletingLastPathComponent()
            .appending(path: "flight")
        let path = folder.path(percentEncoded: false)
        guard FileManager.default.fileExists(atPath: path) else { return [] }
        return try FileManager.default.contentsOfDirectory(atPath: path)
            .map { try String(contentsOf: folder.appending(path: $0), encoding: .utf8) }
    }

    /// Starts a worker as a person does, beside the job's launcher.
    private static func start(_ job: RunningJob, rank: Int) throws -> Program {
        let worker = Program()
        worker.executableURL = RunningJob.programs.appending(path: "apus-worker")
        worker.arguments = [
            "--job", try job.resolvedJob, "--rank", "\(rank)", "--coordinator",
            "127.0.0.1:\(try job.controlPort())",
        ]
        worker.environment = job.environment.merging(["APUS_TOKEN": try job.token()]) { $1 }
        worker.standardInput = FileHandle.nullDevice
        worker.standardOutput = FileHandle.nullDevice
        worker.standardError = FileHandle.nullDevice
        try worker.run()
        return worker
    }
}
