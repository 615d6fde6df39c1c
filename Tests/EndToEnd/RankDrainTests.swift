import Foundation
import Glibc
import Testing

/// Jobs that a rank leaves on purpose while they answer.
@Suite(.serialized) struct RankDrainTests {
    private static let key = "the-key-of-who-runs-the-job"

    /// A job of four ranks whose API has an admin's key.
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
        let job = try RunningJob(ranks: 4, transport: "auto", more: "restart: always\n\(more)")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        let victim = try #require(job.workers(rank: 2).first)
        try await StreamedTexts.repeated(client, expecting: expected) {
            let (status, output) = try job.apus(["drain", "test", "--rank", "2"])
            #expect(status == 0 && output.contains("rank 2 of "), "\(output)")
        }
        let health = try await SurvivalTests.wait(for: "degraded", client)
        #expect(health.contains(#""drained_ranks":[2]"#) && !health.contains("lost"), "\(health)")
        let limit = ContinuousClock.now + .seconds(20)
        while job.workers(rank: 2) == [victim], .now < limit {
            try await Task.sleep(for: .milliseconds(20))
        }
        let shown = try job.apus(["status", "test"]).output
        #expect(
            shown.contains("drained: it comes back by apus scale, or started by hand"), "\(shown)")
        let again = try job.apus(["drain", "test", "--rank", "2"])
        #expect(again.status == 2 && again.output.contains("rank 2 is drained already"))
        let none = try job.apus(["drain", "test", "--rank", "9"])
        #expect(none.status == 2 && none.output.contains("rank 9 is out of range"))
        // That the launcher starts it no more is a decision, which JobRunLossTests hold.
        try await Wait.until("the launcher says why it does nothing") {
            job.output.contains("it was drained, and is not started again")
        }
        // The ranks that stay wrote no last events of it: it was not lost.
        let records = try Self.flightRecords(of: job)
        #expect(!records.contains { $0.contains("rank 2 ") }, "\(records)")
        #expect(try await StreamedTexts.all(client) == expected)
        #expect(job.workers(rank: 2).isEmpty)

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
        let address = try job.waitUntilServing()
        let client = Client(address, key: Self.key)
        kill(try #require(job.workers(rank: 1).first), SIGKILL)
        _ = try await SurvivalTests.wait(for: "degraded", client)
        // By the API as from another machine, and by the job's own secret.
        let url = ["drain", "http://127.0.0.1:\(address.port)", "--key-file"]
        let (status, output) = try job.apus(
            url + [keys.path(percentEncoded: false), "--rank", "3"])
        #expect(status == 2 && output.contains("rank 1 is lost: ask again"), "\(output)")
        let lost = try job.apus(["drain", "test", "--rank", "1"])
        #expect(lost.status == 2 && lost.output.contains("rank 1 is lost: "), "\(lost.output)")
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `another coordinator knows who was drained`() async throws {
        let job = try RunningJob(ranks: 3, transport: "auto", more: "restart: always")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        #expect(try job.apus(["drain", "test", "--rank", "1"]).status == 0)
        _ = try await SurvivalTests.wait(for: "degraded", client)
        kill(try #require(job.processes(named: "apus-coordinator").first), SIGKILL)
        try await Wait.until("another coordinator serves") {
            let health = try? await client.health()
            return job.logs().contains("the job is taken over")
                && health?.contains("degraded") == true
        }
        let health = try await client.health()
        #expect(health.contains(#""drained_ranks":[1]"#) && !health.contains("lost"), "\(health)")
        let shown = try job.apus(["status", "test"]).output
        #expect(
            shown.contains("drained: it comes back by apus scale, or started by hand"), "\(shown)")
        #expect(try await StreamedTexts.all(client) == expected)
        try await Wait.until("the process of rank 1 has ended") { job.workers(rank: 1).isEmpty }
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `a drain whose answer does not come says that the rank may still leave`() throws {
        let server = Process()
        let (input, output) = (Pipe(), Pipe())
        server.executableURL = URL(filePath: "/usr/bin/env")
        server.arguments = [
            "python3", "-uc",
            """
            import socket
            with socket.create_server(("127.0.0.1", 0)) as server:
                print(server.getsockname()[1])
                with server.accept()[0] as client: client.recv(1000)
            """,
        ]
        server.standardInput = input
        server.standardOutput = output
        try server.run()
        defer { server.terminate() }
        var line = Data()
        while line.last != UInt8(ascii: "\n") {
            let more = output.fileHandleForReading.availableData
            try #require(!more.isEmpty, "the server ended")
            line += more
        }
        let url = "http://127.0.0.1:\(String(decoding: line.dropLast(), as: UTF8.self))"
        var environment = ProcessInfo.processInfo.environment
        environment["APUS_ADMIN_KEY"] = Self.key
        let (status, text) = try RunningJob.run("apus", ["drain", url, "--rank", "2"], environment)
        #expect(status == 3 && text.contains("rank 2 may still leave"), "\(text)")
        let mixed = try RunningJob.run(
            "apus", ["drain", "x", "--rank", "2", "--plain"], environment)
        #expect(mixed.status == 2 && mixed.output.contains("go with a URL"), "\(mixed.output)")
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
