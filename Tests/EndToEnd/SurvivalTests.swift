import Foundation
import Glibc
import Testing

/// Jobs that lose ranks while they answer, and lose nothing else.
@Suite(.serialized) struct SurvivalTests {
    /// Waits for a word that stays: "degraded" passes where ranks are started again.
    static func wait(for word: String, _ client: Client) async throws -> String {
        try await Wait.until("/health says \(word)", seconds: 30) {
            try await client.health().contains("\"\(word)\"")
        }
        return try await client.health()
    }

    @Test(arguments: ["shm", "tcp", "ucx"])
    func `texts are the same when two of four ranks are killed, one after the other`(
        transport: String
    ) async throws {
        let job = try RunningJob(ranks: 4, transport: transport, more: "restart: never")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        let disturbed = try await StreamedTexts.all(client) {
            for (rank, others) in [(0, "[0]"), (2, "[0,2]")] {
                kill(try #require(job.workers(rank: rank).first), SIGKILL)
                let health = try await Self.wait(for: "degraded", client)
                // The second loss may not be known yet.
                if rank == 0 { #expect(health.contains(others), "\(health)") }
            }
        }
        #expect(disturbed == expected)
        #expect(try await StreamedTexts.all(client) == expected)
        #expect(try await client.health().contains("[0,2]"))
        #expect(job.output.contains("rank 0 was killed by signal 9 (SIGKILL)"), "\(job.output)")
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `two ranks that die at once, the first among them, cost no text`() async throws {
        let job = try RunningJob(ranks: 4, transport: "auto", more: "restart: never")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        let disturbed = try await StreamedTexts.all(client) {
            let victims = try [0, 3].map { try #require(job.workers(rank: $0).first) }
            for victim in victims { kill(victim, SIGKILL) }
        }
        #expect(disturbed == expected)
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test(arguments: [1, 8])
    func `losses in two groups at once leave the healthy ranks to go on`(
        milliseconds: Int
    ) async throws {
        let job = try RunningJob(
            ranks: 4, transport: "auto",
            more: """
                restart: never
                groups: [{name: a, role: serve, ranks: 3}, {name: b, role: serve, ranks: 1}]
                """)
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        let disturbed = try await StreamedTexts.all(client) {
            let victims = try [2, 3].map { try #require(job.workers(rank: $0).first) }
            kill(victims[0], SIGKILL)
            usleep(UInt32(milliseconds) * 1000)
            kill(victims[1], SIGKILL)
        }
        #expect(disturbed == expected)
        #expect(try await Self.wait(for: "degraded", client).contains("[2,3]"))
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `a pause of the whole job is no loss`() async throws {
        let job = try RunningJob(ranks: 2, transport: "auto", more: "restart: never")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        let disturbed = try await StreamedTexts.all(client) {
            let all = job.processes(named: "apus-worker") + job.processes(named: "apus-coordinator")
            for process in all { kill(process, SIGSTOP) }
            try await Task.sleep(for: .milliseconds(2500))
            for process in all { kill(process, SIGCONT) }
        }
        #expect(disturbed == expected)
        #expect(try await client.health().contains("ready"))
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `a rank that is stopped is given up, and ends when it runs again`() async throws {
        let job = try RunningJob(ranks: 3, transport: "auto", more: "restart: never")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        let victim = try #require(job.workers(rank: 1).first)
        let disturbed = try await StreamedTexts.all(client) {
            kill(victim, SIGSTOP)
            _ = try await Self.wait(for: "degraded", client)
            kill(victim, SIGCONT)
        }
        #expect(disturbed == expected)
        try await Wait.until("rank 1 ends", seconds: 20) { job.workers(rank: 1).isEmpty }
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    /// Kills rank 1 while texts are on their way, and waits until another process has its place.
    static func loseAndRegain(
        _ job: RunningJob, _ client: Client, expecting expected: [String], _ round: Comment
    ) async throws {
        let victim = try #require(job.workers(rank: 1).first)
        let disturbed = try await StreamedTexts.all(client) {
            let before = job.lossCount
            kill(victim, SIGKILL)
            try await job.waitForLoss(after: before)
        }
        #expect(disturbed == expected, round)
        try await StreamedTexts.repeated(client, until: "ready", expecting: expected)
        #expect(job.workers(rank: 1) != [victim])
    }

    @Test func `a lost rank is started again, takes its share, and may be lost again`()
        async throws
    {
        let job = try RunningJob(ranks: 3, transport: "auto")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        for round in 0 ..< 2 {
            try await Self.loseAndRegain(job, client, expecting: expected, "round \(round)")
        }
        let before = try await client.metric("steps_total")
        #expect(try await StreamedTexts.all(client) == expected)
        #expect(try await client.metric("steps_total") > before)
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `chaos loses ranks by death and by silence, and no text`() throws {
        let bench = try RunningBench([
            "chaos", RunningJob.root.appending(path: "cluster/local.yaml").path,
            "--ranks", "3", "--minutes", "0.5", "--every", "2", "--pause", "--streams", "4",
            "--prompts", "4", "--tokens", "32", "--disconnect-clients", "--json",
        ])
        #expect(bench.wait(seconds: 180) == 0, "\(bench.output) \(bench.errors)")
        let object = try JSONSerialization.jsonObject(with: Data(bench.output.utf8))
        let result = try #require(object as? [String: Any])
        #expect((result["kills"] as? Int ?? 0) > 0 && (result["pauses"] as? Int ?? 0) > 0)
        #expect(result["notSurvived"] as? Int == 0 && result["failed"] as? Int == 0)
        #expect(result["wrong"] is NSNull && (result["answered"] as? Int ?? 0) > 0)
    }

    @Test func `a job that loses its last rank says so`() async throws {
        let job = try RunningJob(ranks: 2, transport: "auto", more: "restart: never")
        let client = Client(try job.waitUntilServing())
        kill(try #require(job.workers(rank: 0).first), SIGKILL)
        _ = try await Self.wait(for: "degraded", client)
        kill(try #require(job.workers(rank: 1).first), SIGKILL)
        #expect(job.wait(seconds: 20) == 3)
        #expect(job.errors.contains("rank 1 was lost in phase ready"), "\(job.errors)")
        job.expectNothingLeft()
    }
}
