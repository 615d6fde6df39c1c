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
        let ports = Self.listeners(job)
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
        let workers = job.processes(named: "apus-worker")
        #expect(workers.count == 2)
        #expect(workers.allSatisfy { ProcessFiles.sockets(of: $0).contains { $0.isConnected } })
        let ports = Self.listeners(job)
        #expect(ports.isEmpty, "\(ports)")
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    /// TCP ports on which the workers of a job listen.
    private static func listeners(_ job: RunningJob) -> [Int] {
        let sockets = job.processes(named: "apus-worker").flatMap { ProcessFiles.sockets(of: $0) }
        return Set(sockets.filter(\.isListening).compactMap(\.port)).sorted()
    }
}
