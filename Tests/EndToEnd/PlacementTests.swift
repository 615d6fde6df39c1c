import Foundation
import Glibc
import Testing

/// Jobs whose experts move while they answer.
@Suite(.serialized) struct PlacementTests {
    private static let more = "restart: never\nredundantExperts: 4"

    private static func show(_ job: RunningJob) throws -> [String: Any] {
        let (status, output) = try job.apus(["placement", "show", "test", "--json"])
        guard status == 0 else { throw Failure(output) }
        let value = try JSONSerialization.jsonObject(with: Data(output.utf8))
        return try #require(value as? [String: Any])
    }

    /// Waits until what was asked so far is counted: until the sum has not grown for longer than
    /// the two seconds between a rank's reports. Counts fade, so no two reads are equal.
    private static func waitForCounts(_ job: RunningJob) async throws {
        let limit = ContinuousClock.now + .seconds(30)
        var counted = 0.0
        var grown = ContinuousClock.now
        while .now < limit {
            let loads = try #require(try show(job)["loads"] as? [[Double]])
            let sum = loads.joined().reduce(0, +)
            if sum > counted { grown = .now }
            counted = sum
            if counted > 0, ContinuousClock.now - grown > .milliseconds(2500) { return }
            try await Task.sleep(for: .milliseconds(200))
        }
        throw Failure("no tokens are counted, or more and more: \(counted)")
    }

    /// Max over mean of the ranks, layer by layer, of what `placement show` prints.
    private static func imbalance(_ shown: [String: Any]) throws -> Double {
        let loads = try #require(shown["loads"] as? [[Double]])
        let placements = try #require(shown["placements"] as? [[String: Any]])
        var (highest, mean) = (0.0, 0.0)
        for (layer, placement) in zip(loads, placements) {
            let ranks = try #require(placement["expertsByRank"] as? [[Int]])
            var copies = [Double](repeating: 0, count: layer.count)
            for expert in ranks.joined() { copies[expert] += 1 }
            // Where no shares are stated, copies take turns; else they are of 65,536.
            let shares =
                (placement["shares"] as? [[Double]])?.map { $0.map { $0 / 65536 } }
                ?? ranks.map { $0.map { 1 / copies[$0] } }
            let sums = zip(ranks, shares).map { experts, shares in
                zip(experts, shares).reduce(0.0) { $0 + layer[$1.0] * $1.1 }
            }
            highest += sums.max() ?? 0
            mean += sums.reduce(0, +) / Double(sums.count)
        }
        return mean > 0 ? highest / mean : 1
    }

    /// The metric of each rank is the number of the command, once both know what was counted last.
    private static func expectSameImbalance(
        _ job: RunningJob, _ client: Client, ranks: Int
    ) async throws {
        let limit = ContinuousClock.now + .seconds(20)
        var (shown, metric) = (0.0, 0.0)
        repeat {
            shown = try imbalance(show(job))
            metric = try await client.metric("expert_imbalance") / Double(ranks)
            if shown > 1, abs(shown - metric) < 1e-3 { return }
            try await Task.sleep(for: .milliseconds(200))
        } while .now < limit
        Issue.record("expert_imbalance is \(metric); placement show has \(shown)")
    }

    @Test(arguments: ["shm", "tcp"])
    func `texts are those of a job without copies, before, while and after experts move`(
        transport: String
    ) async throws {
        let plain = try RunningJob(ranks: 2, transport: transport)
        let expected = try await StreamedTexts.all(Client(plain.waitUntilServing()))
        #expect(plain.stop() == 0, "\(plain.errors)")

        let job = try RunningJob(ranks: 4, transport: transport, more: Self.more)
        let client = Client(try job.waitUntilServing())
        #expect(try await StreamedTexts.all(client) == expected)
        try await Self.waitForCounts(job)
        let file = job.folder.appending(path: "loads.json").path(percentEncoded: false)
        let saved = try job.apus(["placement", "show", "test", "--save", file])
        #expect(saved.status == 0 && saved.output.contains("over mean"), "\(saved.output)")
        let before = try #require(try Self.show(job)["epoch"] as? Int)
        try await StreamedTexts.repeated(client, expecting: expected) {
            let applied = try job.apus(["placement", "apply", "test", "--load", file])
            #expect(applied.status == 0, "\(applied.output)")
            #expect(applied.output.contains("experts moved"), "\(applied.output)")
        }
        #expect(try #require(try Self.show(job)["epoch"] as? Int) > before)
        #expect(try await StreamedTexts.all(client) == expected)
        try await Self.expectSameImbalance(job, client, ranks: 4)
        // What is best by the same loads is there already, also for one who asks no job.
        let again = try job.apus(["placement", "what-if", "test", "--load", file])
        #expect(again.output.contains("0 experts to read"), "\(again.output)")
        let offline = try job.apus(["placement", "what-if", "--load", file, "--max-moves", "3"])
        #expect(offline.status == 0 && offline.output.contains("model's"), "\(offline.output)")
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test(arguments: [0, 20, 60, 150])
    func `a rank that is lost while experts move costs no text`(
        milliseconds: Int
    ) async throws {
        let job = try RunningJob(ranks: 4, transport: "auto", more: Self.more)
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        try await Self.waitForCounts(job)
        try await StreamedTexts.repeated(client, expecting: expected) {
            let victim = try #require(job.workers(rank: 2).first)
            let killing = Task.detached {
                try await Task.sleep(for: .milliseconds(milliseconds))
                kill(victim, SIGKILL)
            }
            let (status, output) = try job.apus(["placement", "apply", "test"])
            try await killing.value
            // The rank may be lost before ranks read, while they do, or later.
            let words = [
                "was lost", "is lost", "the group is in", "are about to take part",
                "rank 2 left during connect",
            ]
            #expect(status == 0 || words.contains { output.contains($0) }, "\(output)")
        }
        #expect(try await StreamedTexts.all(client) == expected)
        #expect(try await client.health().contains("degraded"))
        let applied = try job.apus(["placement", "apply", "test"])
        #expect(applied.status == 0, "\(applied.output)")
        #expect(try await StreamedTexts.all(client) == expected)
        let shown = try job.apus(["placement", "show", "test"])
        #expect(shown.output.contains("  lost\n"), "\(shown.output)")
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `a lost rank comes back where experts have copies, before and after they move`()
        async throws
    {
        let job = try RunningJob(ranks: 3, transport: "auto", more: "redundantExperts: 3")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        for round in 0 ..< 2 {
            try await SurvivalTests.loseAndRegain(
                job, client, expecting: expected, "round \(round)")
            let (status, output) = try job.apus(["placement", "apply", "test"])
            #expect(status == 0, "round \(round): \(output)")
            #expect(try await StreamedTexts.all(client) == expected, "round \(round)")
        }
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `a job that rebalances itself changes no text`() async throws {
        let job = try RunningJob(
            ranks: 3, transport: "auto", more: "redundantExperts: 3\nrebalance: 1")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        try await Wait.until("experts are placed anew: \(job.logs())") {
            let texts = try await StreamedTexts.all(client)
            #expect(texts == expected)
            return job.logs().contains("experts are placed anew")
        }
        #expect(try await StreamedTexts.all(client) == expected)
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `more copies than the model can have, and a file that is none, are refused`()
        throws
    {
        let job = try RunningJob(ranks: 2, transport: "auto", more: "redundantExperts: 17")
        #expect(job.wait(seconds: 30) == 2)
        let words = "17 redundant experts are not 0 to 16"
        #expect((job.output + job.errors + job.logs()).contains(words))
        let planned = try job.apus([
            "plan",
            job.write(
                "plan.yaml", "model: \(RunningJob.model)\nranks: 2\nredundantExperts: 17\n"),
        ])
        #expect(planned.status == 2 && planned.output.contains(words), "\(planned.output)")
        let uneven = #"""
            {"format":"apus-placement-1","report":{"groups":[{"name":"a","ranks":[0,1],"slots":[1],
            "placements":[],"loads":[],"living":[],"epoch":1}]}}
            """#
        for text in ["", "[]", #"{"format":"x","report":{"groups":[]}}"#, uneven] {
            let file = try job.write("bad.json", text)
            let (status, output) = try job.apus(["placement", "what-if", "--load", file])
            #expect(status == 2 && output.contains("bad.json"), "\(output)")
        }
    }
}
