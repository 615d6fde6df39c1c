import Foundation
import Glibc
import Testing

/// A job whose ranks run in the namespaces of a lab, while its clients do not.
@Suite(
    .enabled(if: labIsPossible, "needs root, iproute2 and network namespaces"), .serialized)
final class LabJobTests {
    private let name = "job-\(getpid())"
    private let file: URL

    init() throws {
        file = FileManager.default.temporaryDirectory.appending(path: "\(name).yaml")
        try Data(
            """
            name: \(name)
            about: Two nodes of one rank, joined by one slow network.
            nodes:
              - {name: node0}
              - {name: node1}
            planes:
              - {name: plane0, gigabitsPerSecond: 1}
            """.utf8
        ).write(to: file)
    }

    deinit { try? FileManager.default.removeItem(at: file) }

    private func expectNothingLeft() throws {
        let spaces = try? FileManager.default.contentsOfDirectory(atPath: "/run/netns")
        #expect(spaces?.contains { $0.contains(name) } != true)
        let states = try? FileManager.default.contentsOfDirectory(atPath: "/run/apus/labs")
        #expect(states?.contains { $0.contains(name) } != true)
    }

    @Test func `ranks in a lab answer over its links as ranks side by side do`() async throws {
        let here = try RunningJob(ranks: 1, transport: "auto")
        let there = try RunningJob(
            ranks: 2, transport: "auto", more: "lab: \(file.path(percentEncoded: false))")
        let expected = try await Client(try here.waitUntilServing()).complete(
            ServingJobTests.prompt, tokens: 24)
        let found = try await Client(try there.waitUntilServing()).complete(
            ServingJobTests.prompt, tokens: 24)
        #expect(found == expected)
        #expect(there.logs().contains("rank 1 is reached by tcp:plane0"))
        #expect(there.stop() == 0, "\(there.errors)")
        there.expectNothingLeft()
        try expectNothingLeft()
    }

    @Test func `when the launcher is killed, its lab goes with the job`() async throws {
        let job = try RunningJob(
            ranks: 2, transport: "auto", more: "lab: \(file.path(percentEncoded: false))")
        _ = try job.waitUntilServing()
        job.signal(SIGKILL)
        #expect(job.wait(seconds: 5) == 128 + SIGKILL)
        try await job.waitForProcesses(toEndWithin: 20)
        job.expectNothingLeft()
        try expectNothingLeft()
    }

    @Test func `a network that drops full packets is named with their size before the load`() throws
    {
        let path = file.path(percentEncoded: false)
        #expect(try RunningJob.run("apus", ["lab", "up", path]).status == 0)
        defer { _ = try? RunningJob.run("apus", ["lab", "down", path]) }
        // The bridge passes packets of 1500 bytes, and says nothing of larger ones.
        try Self.run(
            "tc", "-n", "apus-\(name)-switch", "qdisc", "replace", "dev", "p0n1", "root", "tbf",
            "rate", "1gbit", "burst", "1600", "latency", "50ms")
        let job = try RunningJob(ranks: 2, transport: "auto", more: "lab: \(path)")
        #expect(job.wait(seconds: 60) == 3)
        #expect(
            job.errors.contains("packets of 9000 bytes do not reach it over plane0"),
            "\(job.errors)")
        #expect(!job.logs().contains("phase load"))
        job.expectNothingLeft()
    }

    private static func run(_ words: String...) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = words
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(words)")
    }

    @Test func `a lab with another number of ranks is refused before it is built`() throws {
        let job = try RunningJob(
            ranks: 3, transport: "auto", more: "lab: \(file.path(percentEncoded: false))")
        #expect(job.wait(seconds: 20) == 2)
        #expect(job.errors.contains("the job has 3 ranks; its lab has 2"), "\(job.errors)")
        try expectNothingLeft()
    }
}
