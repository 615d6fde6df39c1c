import Foundation
import Glibc
import Testing

/// Jobs whose coordinator dies while they answer: another one takes their ranks over.
@Suite(.serialized) struct CoordinatorLossTests {
    /// Asks until the answer is there: while no coordinator listens, connections are refused.
    private static func texts(_ client: Client) async throws -> [String] {
        let limit = ContinuousClock.now + .seconds(60)
        while true {
            do {
                return try await StreamedTexts.all(client)
            } catch {
                guard ContinuousClock.now < limit else { throw error }
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    /// What `/health` says; nothing while nobody listens.
    private static func wait(for word: String, _ client: Client) async throws {
        try await Wait.until("/health says \(word)") {
            let body = try? await client.health()
            return body?.contains("\"\(word)\"") == true
        }
    }

    /// The process of a coordinator is gone.
    private static func waitForEnd(of coordinator: Int32, _ job: RunningJob) async throws {
        try await Wait.until("coordinator \(coordinator) ends") {
            !job.processes(named: "apus-coordinator").contains(coordinator)
        }
    }

    private static func loads(_ job: RunningJob) -> Int {
        job.logs().components(separatedBy: "bytes of weights").count - 1
    }

    /// Kills the coordinator under streams, which break off without an end.
    private static func kill(
        _ job: RunningJob, under client: Client, and others: [Int32] = []
    ) async throws {
        let coordinator = try #require(job.processes(named: "apus-coordinator").first)
        await #expect(throws: (any Error).self) {
            _ = try await StreamedTexts.all(client) {
                for process in [coordinator] + others { Glibc.kill(process, SIGKILL) }
            }
        }
        try await waitForEnd(of: coordinator, job)
    }

    @Test(arguments: ["shm", "tcp"])
    func `a coordinator that is killed twice costs its streams, and no rank loads again`(
        transport: String
    ) async throws {
        let job = try RunningJob(ranks: 2, transport: transport)
        let address = try job.waitUntilServing()
        let client = Client(address)
        let expected = try await StreamedTexts.all(client)
        let workers = job.processes(named: "apus-worker").sorted()
        let (control, folder) = (try job.controlPort(), try job.resolvedJob)
        for _ in 0 ..< 2 {
            try await Self.kill(job, under: client)
            #expect(try await Self.texts(client) == expected)
            #expect(try await client.health().contains("ready"))
            #expect(try job.controlPort() == control && job.resolvedJob == folder)
        }
        #expect(job.processes(named: "apus-worker").sorted() == workers)
        #expect(Self.loads(job) == 2, "\(job.logs())")
        let logs = job.logs()
        #expect(logs.contains("this rank waits for another one"), "\(logs)")
        #expect(logs.contains("the job is taken over in epoch 1"), "\(logs)")
        #expect(
            job.output.contains("coordinator was killed by signal 9 (SIGKILL)"), "\(job.output)")
        let status = try job.apus(["status"])
        #expect(status.status == 0 && status.output.contains("ready"), "\(status.output)")
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `a rank that is killed with the coordinator is lost, and comes back`() async throws {
        let job = try RunningJob(ranks: 3, transport: "auto")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        let workers = job.processes(named: "apus-worker")
        let victim = try #require(job.workers(rank: 1).first)
        try await Self.kill(job, under: client, and: [victim])
        #expect(try await Self.texts(client) == expected)
        try await Self.wait(for: "ready", client)
        #expect(try await Self.texts(client) == expected)
        let now = job.processes(named: "apus-worker")
        #expect(Set(now).intersection(workers) == Set(workers).subtracting([victim]))
        #expect(now.count == 3)
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `a coordinator that is killed while ranks recover costs no text afterwards`()
        async throws
    {
        let job = try RunningJob(ranks: 3, transport: "auto", more: "restart: always")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        Glibc.kill(try #require(job.workers(rank: 2).first), SIGKILL)
        // The coordinator has told the others of a new epoch.
        try await job.waitForLoss()
        let coordinator = try #require(job.processes(named: "apus-coordinator").first)
        Glibc.kill(coordinator, SIGKILL)
        try await Self.waitForEnd(of: coordinator, job)
        #expect(try await Self.texts(client) == expected)
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `a coordinator that is stopped until its ranks give it up leaves them to the next`()
        async throws
    {
        let job = try RunningJob(ranks: 2, transport: "auto")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        let workers = job.processes(named: "apus-worker").sorted()
        let coordinator = try #require(job.processes(named: "apus-coordinator").first)
        // Its launcher would kill one that hangs.
        job.signal(SIGSTOP)
        defer { job.signal(SIGCONT) }
        Glibc.kill(coordinator, SIGSTOP)
        try await Wait.until("both ranks give it up: \(job.logs())") {
            job.logs().components(separatedBy: "this rank waits for another one").count >= 3
        }
        Glibc.kill(coordinator, SIGCONT)
        try await Self.waitForEnd(of: coordinator, job)
        job.signal(SIGCONT)
        #expect(try await Self.texts(client) == expected)
        #expect(job.processes(named: "apus-worker").sorted() == workers)
        #expect(Self.loads(job) == 2, "\(job.logs())")
        #expect(job.output.contains("coordinator exited with 1"), "\(job.output)")
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `a job that is paused as a whole goes on as it was`() async throws {
        let job = try RunningJob(ranks: 2, transport: "auto")
        let client = Client(try job.waitUntilServing())
        let expected = try await StreamedTexts.all(client)
        let processes = job.processes().sorted()
        job.signal(SIGSTOP)
        for process in processes { Glibc.kill(process, SIGSTOP) }
        // Longer than ranks wait for a coordinator that is silent.
        try await Task.sleep(for: .seconds(12))
        for process in processes { Glibc.kill(process, SIGCONT) }
        job.signal(SIGCONT)
        #expect(try await StreamedTexts.all(client) == expected)
        #expect(job.processes().sorted() == processes)
        #expect(job.stop() == 0, "\(job.errors)")
        job.expectNothingLeft()
    }

    @Test func `chaos kills the coordinator, and every text is the same when it is asked again`()
        throws
    {
        let bench = try RunningBench([
            "chaos", RunningJob.root.appending(path: "cluster/local.yaml").path,
            "--ranks", "2", "--minutes", "0.4", "--every", "3", "--no-kill", "--coordinator",
            "--streams", "4", "--prompts", "4", "--tokens", "32", "--json",
        ])
        #expect(bench.wait(seconds: 180) == 0, "\(bench.output) \(bench.errors)")
        let object = try JSONSerialization.jsonObject(with: Data(bench.output.utf8))
        let result = try #require(object as? [String: Any])
        #expect((result["coordinators"] as? Int ?? 0) > 0 && result["kills"] as? Int == 0)
        #expect(result["notSurvived"] as? Int == 0 && result["failed"] as? Int == 0)
        #expect(result["wrong"] is NSNull && (result["answered"] as? Int ?? 0) > 0)
        #expect((result["askedAgain"] as? Int ?? 0) > 0)
    }
}
