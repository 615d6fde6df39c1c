import Foundation
import Glibc
import Testing

/// What clients see of a job that loses a rank, and what unauthenticated connections can do to its
/// ports.
@Suite(.serialized) struct LossTests {
    @Test func `when a rank is lost every stream gets an error event, every other request a 503`()
        async throws
    {
        let job = try RunningJob(ranks: 2, transport: "auto", more: "onLostRank: end")
        let client = Client(try job.waitUntilServing())
        let requests = (0 ..< 12).map { index in
            let isStream = index % 2 == 0
            return Task {
                let answer = try await client.ask(
                    ServingJobTests.prompt, tokens: 1900,
                    more: ["stream": isStream, "ignore_eos": true])
                return (isStream, answer.status, answer.body)
            }
        }
        try await client.waitUntilBegun(12)
        kill(try #require(job.workers(rank: 1).first), SIGKILL)
        for request in requests {
            let (isStream, status, body) = try await request.value
            let end = String(body.suffix(400))
            #expect(end.contains("rank 1"), "\(status) \(end)")
            #expect(status == (isStream ? 200 : 503), "\(end)")
            guard isStream else { continue }
            let last = try #require(body.split(separator: "\n").last { $0.hasPrefix("data:") })
            #expect(last.contains(#""error""#), "\(last)")
            #expect(!body.contains("[DONE]"))
        }
        #expect(job.wait(seconds: 20) == 3)
        #expect(job.errors.contains("rank 1 was lost in phase ready"), "\(job.errors)")
        job.expectNothingLeft()
    }

    /// Garbage, a frame that is cut short, and a length that is never kept.
    private static let garbage: [[UInt8]] = [
        Array("GET / HTTP/1.1\r\n\r\n".utf8), [UInt8](repeating: 0xFF, count: 70_000),
        [UInt8](repeating: 0, count: 5), (0 ..< 4096).map { UInt8(truncatingIfNeeded: $0 * 97) },
        [0xFF, 0xFF, 0xFF, 0x7F, 1, 2, 3],
    ]

    @Test func `garbage on every port of a worker harms nobody`() async throws {
        let job = try RunningJob(ranks: 2, transport: "ucx")
        let client = Client(try job.waitUntilServing())
        let before = try await client.complete(ServingJobTests.prompt, tokens: 24)
        let ports = try job.processes(named: "apus-worker").flatMap { try Self.ports(of: $0) }
        #expect(ports.count >= 2, "the ranks listen for each other: \(ports)")
        for port in ports {
            for bytes in Self.garbage { try Garbage.send(bytes, port: port) }
        }
        #expect(try await client.complete(ServingJobTests.prompt, tokens: 24) == before)
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `ranks that are connected by sockets listen to nobody`() async throws {
        let job = try RunningJob(ranks: 2, transport: "tcp")
        _ = try job.waitUntilServing()
        let ports = try job.processes(named: "apus-worker").flatMap { try Self.ports(of: $0) }
        #expect(ports.isEmpty, "\(ports)")
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    /// TCP ports on which a process listens.
    private static func ports(of pid: Int32) throws -> [Int] {
        let folder = "/proc/\(pid)/fd"
        let sockets = try FileManager.default.contentsOfDirectory(atPath: folder).compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)")
        }.filter { $0.hasPrefix("socket:") }
        let tables = try ["tcp", "tcp6"].map {
            try String(contentsOfFile: "/proc/\(pid)/net/\($0)", encoding: .utf8)
        }
        return Set(
            tables.joined().split(separator: "\n").compactMap { line -> Int? in
                let words = line.split(separator: " ", omittingEmptySubsequences: true)
                // Local address, state (0A listens), inode: see proc(5).
                guard words.count > 9, words[3] == "0A", sockets.contains("socket:[\(words[9])]")
                else { return nil }
                return words[1].split(separator: ":").last.flatMap { Int($0, radix: 16) }
            }
        ).sorted()
    }
}
