import Foundation
import Glibc
import Testing

/// What clients see of a server that is asked to end while it generates.
@Suite(.serialized) struct DrainTests {
    /// Requests that outlast every drain limit: streams, and whole answers.
    static func ask(_ client: Client) -> [Task<
        (isStream: Bool, status: Int, body: String), any Error
    >] {
        (0 ..< 6).map { index in
            let isStream = index % 2 == 0
            return Task {
                let answer = try await client.ask(
                    ServingJobTests.prompt, tokens: 1900,
                    more: ["stream": isStream, "ignore_eos": true])
                return (isStream, answer.status, answer.body)
            }
        }
    }

    static func expectReason(
        _ answers: [Task<(isStream: Bool, status: Int, body: String), any Error>], _ reason: String
    ) async throws {
        for answer in answers {
            // A body that breaks off is an error of the client's library.
            let (isStream, status, body) = try await answer.value
            #expect(status == (isStream ? 200 : 503), "\(body.suffix(400))")
            #expect(body.contains(reason), "\(body.suffix(400))")
            #expect(!body.contains("[DONE]"))
            guard isStream else { continue }
            let last = try #require(body.split(separator: "\n").last { $0.hasPrefix("data:") })
            #expect(last.contains(#""error""#), "\(last)")
        }
    }

    @Test func `what outlasts a job's drain limit ends with that reason`() async throws {
        let job = try RunningJob(
            ranks: 2, transport: "auto", more: "deadlines: {drainSeconds: 0.5}")
        let client = Client(try job.waitUntilServing())
        let answers = Self.ask(client)
        try await client.waitUntilBegun(6)
        #expect(job.stop() == 0, "\(job.errors)")
        try await Self.expectReason(answers, "its drain limit of 0.5 s is over")
        job.expectNothingLeft()
    }

    @Test func `a job that is asked twice ends its streams at once, with a reason`() async throws {
        let job = try RunningJob(
            ranks: 2, transport: "auto", more: "deadlines: {drainSeconds: 60}")
        let client = Client(try job.waitUntilServing())
        let answers = Self.ask(client)
        try await client.waitUntilBegun(6)
        job.signal(SIGINT)
        // It drains until it is asked again: the signals have not become one.
        try await Wait.until("the job drains") { try await client.health().contains("draining") }
        job.signal(SIGINT)
        #expect(job.wait(seconds: 30) == 0, "\(job.errors)")
        // Ranks and coordinator are asked together: whichever is first gives the reason.
        try await Self.expectReason(answers, #""error":{"message":""#)
        job.expectNothingLeft()
    }
}
