import Foundation
import Glibc
import Testing

/// A host without the model: real processes, of which one finds no folder and receives its share.
@Suite(.serialized) struct WeightTransferTests {
    /// Coordinator and workers that nobody launched, in a folder of their own.
    final class HandmadeJob {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "apus-weights-\(UUID().uuidString)")
        private var programs: [Program] = []
        private let token = String(repeating: "5a", count: 32)

        init() throws {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        }

        deinit {
            for program in programs where program.isRunning {
                kill(program.processIdentifier, SIGKILL)
            }
            try? FileManager.default.removeItem(at: folder)
        }

        var cache: URL { folder.appending(path: "cache") }

        func job(_ name: String, model: String, ports: (control: Int, http: Int)) throws -> String {
            let file = folder.appending(path: name)
            try Data(
                """
                name: test
                model: \(model)
                ranks: 2
                transport: tcp
                weightFolder: cache
                control: {address: 127.0.0.1, port: \(ports.control)}
                http: {address: 127.0.0.1, port: \(ports.http)}
                limits: {cacheTokens: 8192}
                deadlines: {joinSeconds: 30}
                """.utf8
            ).write(to: file)
            return file.path(percentEncoded: false)
        }

        func start(_ name: String, _ arguments: [String], log: String) throws -> Program {
            let program = Program()
            program.executableURL = RunningJob.programs.appending(path: name)
            program.arguments = arguments
            program.environment = ProcessInfo.processInfo.environment.merging([
                "APUS_TOKEN": token,
                "APUS_JOBS": folder.appending(path: "jobs").path(percentEncoded: false),
            ]) { $1 }
            program.standardInput = FileHandle.nullDevice
            let file = folder.appending(path: log)
            try Data().write(to: file)
            let output = try FileHandle(forWritingTo: file)
            (program.standardOutput, program.standardError) = (output, output)
            try program.run()
            programs.append(program)
            return program
        }

        func text(_ log: String) -> String {
            (try? String(contentsOf: folder.appending(path: log), encoding: .utf8)) ?? ""
        }

        /// The record of what arrived, of the only model in the cache.
        private var record: String? {
            let names =
                (try? FileManager.default.contentsOfDirectory(
                    atPath: cache.path(percentEncoded: false))) ?? []
            let models = names.filter { $0.hasPrefix("stories") && !$0.hasSuffix(".partial") }
            return models.first.map { "cache/\($0)/.apus-part" }
        }

        /// Its lines.
        func arrived() -> [Substring] {
            record.map { text($0).split(separator: "\n") } ?? []
        }

        /// Leaves the first half of the record, as if the kill had come then.
        func keepHalf() throws {
            let lines = arrived()
            guard let record, lines.count > 1 else { return }
            let half = lines.prefix(lines.count / 2).map { $0 + "\n" }.joined()
            try Data(half.utf8).write(to: folder.appending(path: record))
        }
    }

    /// A coordinator and two ranks, of which the second has no model; the text they answer with.
    ///
    /// - Parameter isKilled: Whether the second is killed as soon as something has arrived.
    private func run(
        _ job: HandmadeJob, _ round: String, isKilled: Bool
    ) async throws -> String? {
        let ports = (control: try RunningBench.freePort(), http: try RunningBench.freePort())
        let whole = try job.job("whole-\(round).yaml", model: RunningJob.model, ports: ports)
        let absent = try job.job(
            "absent-\(round).yaml", model: "nowhere/stories-fp8", ports: ports)
        let coordinator = try job.start(
            "apus-coordinator", ["--job", whole], log: "coordinator-\(round)")
        let control = "127.0.0.1:\(ports.control)"
        let words = { (file: String, rank: Int) in
            ["--job", file, "--rank", "\(rank)", "--coordinator", control]
        }
        let first = try job.start("apus-worker", words(whole, 0), log: "rank-0-\(round)")
        let second = try job.start("apus-worker", words(absent, 1), log: "rank-1-\(round)")
        let logs = { [job] in
            ["coordinator", "rank-0", "rank-1"].map { job.text("\($0)-\(round)") }.joined()
        }
        if isKilled {
            try await Wait.until("something arrives: \(logs())") { !job.arrived().isEmpty }
            kill(second.processIdentifier, SIGKILL)
            #expect(second.exitStatus(within: 10) == 128 + SIGKILL)
            #expect(first.exitStatus(within: 60) == 3)
            #expect(coordinator.exitStatus(within: 60) == 3)
            return nil
        }
        let client = Client(RunningJob.Address(port: ports.http))
        try await Wait.until("the job serves: \(logs())") {
            (try? await client.health())?.contains("ready") == true
        }
        let text = try await client.complete(ServingJobTests.prompt, tokens: 24)
        kill(coordinator.processIdentifier, SIGTERM)
        for program in [coordinator, first, second] {
            #expect(program.exitStatus(within: 30) == 0, "\(logs())")
        }
        return text
    }

    @Test func `a rank without the model receives its share, and a kill costs nothing of it`()
        async throws
    {
        let job = try HandmadeJob()
        _ = try await run(job, "killed", isKilled: true)
        // However late the kill came, something is missing.
        try job.keepHalf()
        let before = job.arrived()
        #expect(!before.isEmpty)
        let text = try await run(job, "again", isKilled: false)
        let after = job.arrived()
        // What had arrived is there as it was, and no piece came twice.
        #expect(Array(after.prefix(before.count)) == before)
        #expect(after.count > before.count)
        let places = after.map { $0.split(separator: " ").dropFirst().joined(separator: " ") }
        #expect(Set(places).count == places.count)
        // Less than the model: the other rank's experts did not come.
        let bytes = after.reduce(0) { $0 + (Int($1.split(separator: " ")[2]) ?? 0) }
        let shards = try FileManager.default.contentsOfDirectory(
            at: URL(filePath: RunningJob.model), includingPropertiesForKeys: [.fileSizeKey]
        ).filter { $0.pathExtension == "safetensors" }
        let all = try shards.reduce(0) {
            $0 + (try $1.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0)
        }
        #expect(bytes < all * 9 / 10)
        #expect(text == (try await ServingJobTests.story(ranks: 2, transport: "tcp")))
    }
}
