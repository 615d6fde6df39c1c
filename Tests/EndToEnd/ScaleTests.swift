import Foundation
import Testing

/// Jobs that answer with fewer ranks, and with more again.
@Suite(.serialized) struct ScaleTests {
    @Test func `a job answers the same with four ranks, with two, and with four again`()
        async throws
    {
        let job = try RunningJob(ranks: 4, transport: "auto", more: "restart: always")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        try await StreamedTexts.repeated(client, expecting: expected) {
            let (status, output) = try job.apus(["scale", "test", "2"])
            #expect(status == 0, "\(output)")
            #expect(output.contains("rank 3 is drained\nrank 2 is drained\n"), "\(output)")
            #expect(output.contains("2 of 4 ranks of the job test serve"), "\(output)")
        }
        let health = try await SurvivalTests.wait(for: "degraded", client)
        #expect(health.contains(#""drained_ranks":[2,3]"#) && !health.contains("lost"), "\(health)")
        #expect(try await StreamedTexts.all(client) == expected)
        // Nothing is left to do.
        let same = try job.apus(["scale", "test", "2", "--json"])
        #expect(same.status == 0 && same.output.contains(#""drained" : ["#), "\(same.output)")
        try await StreamedTexts.repeated(client, expecting: expected) {
            let (status, output) = try job.apus(["scale", "test", "4"])
            #expect(status == 0, "\(output)")
            #expect(output.contains("rank 2 is back\nrank 3 is back\n"), "\(output)")
        }
        _ = try await SurvivalTests.wait(for: "ready", client)
        #expect(try await StreamedTexts.all(client) == expected)
        // The launcher watches what it started again.
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `a job has no more ranks than its file says`() throws {
        let job = try RunningJob(ranks: 2, transport: "auto")
        _ = try job.waitUntilServing()
        for count in ["0", "3"] {
            let (status, output) = try job.apus(["scale", "test", count])
            #expect(status == 2 && output.contains("1...2"), "\(output)")
        }
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }
}
