import Foundation
import Glibc
import Testing

/// Jobs whose ranks prefill or decode.
@Suite(.serialized) struct RolesTests {
    private static let roles = """
        restart: never
        engine: {handoverTokens: 4}
        groups: [{role: prefill, ranks: 1}, {role: decode, ranks: 2}]
        """

    /// Links are made after a job serves: two, with an end at each rank.
    private static func waitForLinks(_ client: Client) async throws {
        try await Wait.until("rank 0 is linked to both decode ranks", seconds: 30) {
            try await client.metric("handover_links") == 4
        }
    }

    /// The rule needs no load to act on a role without ranks.
    @Test func `a decode rank prefills in place of one that is lost`() async throws {
        let groups = """
            restart: never
            rebalanceRoles: 1
            engine: {handoverTokens: 4}
            groups: [{role: prefill, ranks: 1}, {name: a, role: decode, ranks: 1},
                {name: b, role: decode, ranks: 1}]
            """
        let together = try RunningJob(ranks: 3, transport: "shm")
        let expected = try await StreamedTexts.all(Client(try together.waitUntilServing()))
        #expect(together.stop() == 0, "\(together.errors)")
        let job = try RunningJob(ranks: 3, transport: "shm", more: groups)
        let client = Client(try job.waitUntilServing())
        try await Self.waitForLinks(client)
        let disturbed = try await StreamedTexts.all(client) {
            kill(try #require(job.workers(rank: 0).first), SIGKILL)
            _ = try await SurvivalTests.wait(for: "degraded", client)
        }
        #expect(disturbed == expected)
        try await Wait.until("a group prefills in its place", seconds: 60) {
            try await client.metric("role_changes_total") >= 1
        }
        let health = try await client.health()
        #expect(health.contains("\"prefill_ranks\":["), "\(health)")
        #expect(health.contains("\"lost_ranks\":[0]"), "\(health)")
        try await Wait.until("the ranks that are left are linked", seconds: 30) {
            try await client.metric("handover_links") == 2
        }
        let before = try await client.metric("handover_prompts_received_total")
        #expect(try await StreamedTexts.all(client) == expected)
        #expect(try await client.metric("handover_prompts_received_total") >= before + 8)
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test(arguments: ["shm", "tcp", "ucx"])
    func `texts are those of one group, also when a rank of either role is killed`(
        transport: String
    ) async throws {
        let together = try RunningJob(ranks: 3, transport: transport)
        let expected = try await StreamedTexts.all(Client(try together.waitUntilServing()))
        #expect(together.stop() == 0, "\(together.errors)")
        for victim in [0, 1] {
            let job = try RunningJob(ranks: 3, transport: transport, more: Self.roles)
            let client = Client(try job.waitUntilServing())
            try await Self.waitForLinks(client)
            #expect(try await StreamedTexts.all(client) == expected)
            #expect(try await client.metric("handover_prompts_received_total") >= 8)
            let disturbed = try await StreamedTexts.all(client) {
                kill(try #require(job.workers(rank: victim).first), SIGKILL)
                _ = try await SurvivalTests.wait(for: "degraded", client)
            }
            #expect(disturbed == expected)
            #expect(try await StreamedTexts.all(client) == expected)
            #expect(job.stop() == 0, "\(job.errors)")
            job.expectNothingLeft()
        }
    }
}
