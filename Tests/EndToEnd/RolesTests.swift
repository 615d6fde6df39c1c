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
