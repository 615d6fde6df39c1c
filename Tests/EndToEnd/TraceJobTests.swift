import Foundation
import Glibc
import Testing

/// `apus trace` and the flight recorder, on processes.
@Suite(.serialized) struct TraceJobTests {
    /// A request that goes on until its client leaves.
    private static func busy(_ client: Client) -> Task<Void, any Error> {
        Task {
            while !Task.isCancelled {
                _ = try await client.ask(
                    ServingJobTests.prompt, tokens: 400, more: ["ignore_eos": true])
            }
        }
    }

    @Test func `a trace of a job has matched exchanges of its ranks, on one clock`() async throws {
        let job = try RunningJob(ranks: 2, transport: "tcp")
        let client = Client(try job.waitUntilServing())
        let load = Self.busy(client)
        defer { load.cancel() }
        let file = job.folder.appending(path: "trace.json")
        let (status, output) = try job.apus([
            "trace", "test", "--seconds", "2", "-o", file.path(percentEncoded: false),
        ])
        #expect(status == 0 && output.contains("tokens/s"), "\(output)")
        let document = try #require(
            JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
        let events = try #require(document["traceEvents"] as? [[String: Any]])
        var ends: [[String: (begin: Double, end: Double)]] = [[:], [:]]
        for event in events where event["name"] as? String == "dispatch" {
            let arguments = try #require(event["args"] as? [String: Any])
            guard let step = arguments["step"] as? Int, let begin = event["ts"] as? Double,
                let exchange = arguments["exchange"] as? Int, let length = event["dur"] as? Double
            else { continue }
            ends[try #require(event["pid"] as? Int)]["\(step) \(exchange)"] =
                (begin, begin + length)
        }
        let both = Set(ends[0].keys).intersection(ends[1].keys)
        #expect(both.count > 20 && both.count > ends[0].count / 2, "\(output)")
        let other = try #require(document["otherData"] as? [String: Any])
        let summary = try #require(other["summary"] as? [String: Any])
        let ranks = try #require(summary["ranks"] as? [[String: Any]])
        let bound = try ranks.reduce(0) {
            $0 + (try #require($1["clockErrorMicroseconds"] as? Double))
        }
        for key in both {
            let spans = try ends.map { try #require($0[key]) }
            // What arrives at one rank left the other before.
            #expect(spans[0].end + bound + 1 >= spans[1].begin)
            #expect(spans[1].end + bound + 1 >= spans[0].begin)
        }
        // The coordinator's copy went with its reader.
        let path = try URL(filePath: job.resolvedJob).deletingLastPathComponent()
            .appending(path: "traces").path(percentEncoded: false)
        #expect(try FileManager.default.contentsOfDirectory(atPath: path).isEmpty)
        load.cancel()
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `Ctrl-C ends a trace and leaves no file`() async throws {
        let job = try RunningJob(ranks: 1, transport: "auto")
        _ = try job.waitUntilServing()
        let control = try job.controlPort()
        let process = Program()
        // Tests may run where SIGINT is ignored, and a program inherits that.
        process.executableURL = URL(filePath: "/usr/bin/env")
        let folder = job.folder.appending(path: "traced")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        process.arguments = [
            "--default-signal=INT",
            RunningJob.programs.appending(path: "apus").path(percentEncoded: false), "trace",
            "test", "--seconds", "30", "-o",
            folder.appending(path: "trace.json").path(percentEncoded: false),
        ]
        process.environment = job.environment
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        try await Wait.until("the command asks the coordinator") {
            process.isConnected(to: control)
        }
        #expect(process.isRunning)
        process.interrupt()
        #expect(process.exitStatus(within: 5) == 128 + SIGINT)
        let path = folder.path(percentEncoded: false)
        #expect(try FileManager.default.contentsOfDirectory(atPath: path).isEmpty)
        #expect(job.stop() == 0, "\(job.errors)")
    }

    @Test func `survivors of a killed rank write their last events, which name step and peer`()
        async throws
    {
        let job = try RunningJob(ranks: 3, transport: "tcp", more: "restart: never")
        let client = Client(try job.waitUntilServing())
        let load = Self.busy(client)
        defer { load.cancel() }
        try await client.waitUntilBegun(1)
        kill(try #require(job.workers(rank: 2).first), SIGKILL)
        _ = try await SurvivalTests.wait(for: "degraded", client)
        let folder = try URL(filePath: job.resolvedJob).deletingLastPathComponent()
            .appending(path: "flight")
        let path = folder.path(percentEncoded: false)
        func written() -> [String] {
            ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
                .filter { $0.hasSuffix(".jsonl") }
        }
        try await Wait.until("two files are there: \(job.logs())") { written().count >= 2 }
        let files = written()
        #expect(files.map { $0.prefix(7) } == ["rank-0-", "rank-1-"], "\(files) \(job.logs())")
        for file in files {
            let lines = try String(contentsOf: folder.appending(path: file), encoding: .utf8)
                .split(separator: "\n")
            let last = try lines.suffix(3).map {
                try #require(
                    JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
            }
            let ending = last.last { ["failed", "lost"].contains($0["kind"] as? String) }
            let event = try #require(ending, "\(lines.suffix(5))")
            #expect(event["peer"] as? Int == 2)
            #expect((event["step"] as? Int ?? 0) > 0)
            // A rank names its file after it has written it.
            try await Wait.until("\(file) is named: \(job.logs())") {
                job.logs().contains(file)
            }
        }
        let (status, output) = try job.apus(
            ["trace", "--flight"] + files.map { path + "/" + $0 })
        #expect(status == 0 && output.contains("rank 2"), "\(output.suffix(500))")
        load.cancel()
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }
}
