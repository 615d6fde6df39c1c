import Foundation
import Glibc
import Testing

/// Real processes: coordinator and workers, as people run them, on the small model of the house.
@Suite(.serialized) struct ServingJobTests {
    static let prompt = "Once upon a time"

    @Test(arguments: [("shm", 2), ("tcp", 2), ("ucx", 2), ("auto", 3)])
    func `a completion crosses to its experts and back, and reads the same on every transport`(
        transport: String, ranks: Int
    ) async throws {
        let alone = try await Self.story(ranks: 1, transport: "auto")
        let many = try await Self.story(ranks: ranks, transport: transport)
        #expect(!alone.isEmpty)
        #expect(many == alone)
    }

    static func story(ranks: Int, transport: String) async throws -> String {
        let job = try RunningJob(ranks: ranks, transport: transport)
        let http = try job.waitUntilServing()
        let text = try await Client(http).complete(prompt, tokens: 24)
        #expect(job.stop() == 0)
        job.expectNothingLeft()
        return text
    }

    @Test func `a worker that is killed ends the job with its name`() async throws {
        let job = try RunningJob(ranks: 2, transport: "auto", more: "onLostRank: end")
        let client = Client(try job.waitUntilServing())
        let story = Task { try await client.complete(Self.prompt, tokens: 1900) }
        try await client.waitUntilBegun(1)
        let victim = try #require(job.workers(rank: 1).first)
        kill(victim, SIGKILL)
        #expect(job.wait(seconds: 20) == 3)
        #expect(
            job.errors.contains(
                "rank 1 was lost in phase ready, epoch 0: was killed by signal 9 (SIGKILL)"),
            "\(job.errors)")
        // The request ended too, well or badly.
        _ = await story.result
        job.expectNothingLeft()
    }

    @Test func `a worker that is stopped is silent, and ends the job with its name`() throws {
        let job = try RunningJob(
            ranks: 2, transport: "auto", more: "deadlines: {silenceSeconds: 2}\nonLostRank: end")
        _ = try job.waitUntilServing()
        let victim = try #require(job.workers(rank: 0).first)
        kill(victim, SIGSTOP)
        #expect(job.wait(seconds: 30) == 3)
        #expect(job.errors.contains("rank 0 was lost in phase ready"))
        job.expectNothingLeft()
    }

    @Test func `when the launcher is killed, everything it started ends, and says why`()
        async throws
    {
        let job = try RunningJob(
            ranks: 2, transport: "auto", more: "deadlines: {drainSeconds: 600}")
        let client = Client(try job.waitUntilServing())
        let stream = Task {
            try await client.ask(
                Self.prompt, tokens: 1900, more: ["stream": true, "ignore_eos": true])
        }
        try await client.waitUntilBegun(1)
        job.signal(SIGKILL)
        #expect(job.wait(seconds: 5) == 128 + SIGKILL)
        try await job.waitForProcesses(toEndWithin: 15)
        job.expectNothingLeft()
        let end = try await stream.value.body.suffix(400)
        #expect(end.contains("the launcher was lost"), "\(end)")
        #expect(job.logs().contains("the launcher was lost"))
        // Its folder stays for people who search for the reason, and no job runs.
        #expect(try job.apus(["status"]).status == 2)
    }

    @Test(arguments: [
        "restart: never", "onLostRank: end", "deadlines: {coordinatorSeconds: 0}",
    ])
    func `where no other coordinator may come, the job ends with its own and says so`(
        more: String
    ) throws {
        let job = try RunningJob(ranks: 2, transport: "auto", more: more)
        _ = try job.waitUntilServing()
        let coordinator = try #require(job.processes(named: "apus-coordinator").first)
        kill(coordinator, SIGKILL)
        #expect(job.wait(seconds: 20) == 1)
        #expect(job.errors.contains("coordinator was killed by signal 9"))
        job.expectNothingLeft()
    }
}

/// Jobs that must not come to serve.
@Suite(.serialized) struct RefusedJobTests {
    @Test func `a port that is in use is refused before anything is loaded`() throws {
        let first = try RunningJob(ranks: 1, transport: "auto")
        let port = try first.waitUntilServing().port
        let second = try RunningJob(ranks: 1, transport: "auto", httpPort: port)
        #expect(second.wait(seconds: 20) == 2)
        #expect(second.errors.contains("127.0.0.1:\(port) cannot be listened on"))
        second.expectNothingLeft()
        #expect(first.stop() == 0)
    }

    @Test func `a folder that is no model is refused at once`() throws {
        let job = try RunningJob(ranks: 2, transport: "auto", model: "/proc")
        #expect(job.wait(seconds: 20) == 2)
        #expect(job.errors.contains("config.json"))
    }

    @Test func `more ranks than experts are refused with both counts`() throws {
        let job = try RunningJob(ranks: 20, transport: "auto")
        #expect(job.wait(seconds: 60) == 2)
        #expect(job.errors.contains("20 ranks are too many"))
        job.expectNothingLeft()
    }

    @Test func `a second worker for a rank is refused, and the job goes on`() async throws {
        let job = try RunningJob(ranks: 1, transport: "auto")
        let http = try job.waitUntilServing()
        let (status, log) = try job.worker(rank: 0, configuration: job.resolvedJob)
        #expect(status == 2)
        #expect(log.contains("rank 0 is held by process"))
        #expect(try await !Client(http).complete("The cat", tokens: 4).isEmpty)
        #expect(job.stop() == 0)
    }

    @Test func `a worker with another job is told which field differs`() throws {
        let job = try RunningJob(ranks: 1, transport: "auto")
        _ = try job.waitUntilServing()
        let other = try job.write(
            "other.yaml", job.resolvedText.replacing("cacheTokens: 8192", with: "cacheTokens: 64"))
        let (status, log) = try job.worker(rank: 0, configuration: other)
        #expect(status == 2)
        #expect(
            log.contains(
                "setting limits.cacheTokens differs: the coordinator has 8192, the worker has 64"))
        #expect(job.stop() == 0)
    }

    @Test func `a worker with another model is told so`() throws {
        let job = try RunningJob(ranks: 1, transport: "auto")
        _ = try job.waitUntilServing()
        let copy = try job.copyOfModel(changing: "generation_config.json")
        let other = try job.write(
            "model.yaml", job.resolvedText.replacing(RunningJob.model, with: copy))
        let (status, log) = try job.worker(rank: 0, configuration: other)
        #expect(status == 2)
        #expect(
            log.contains("model file generation_config.json differs: the coordinator has"))
        #expect(job.stop() == 0)
    }

    @Test func `garbage on the control port harms nobody`() async throws {
        let job = try RunningJob(ranks: 2, transport: "auto")
        let http = try job.waitUntilServing()
        let control = try job.controlPort()
        var random = SystemRandomNumberGenerator()
        for length in [1, 39, 40, 41, 4096, 1 << 20] {
            let bytes = (0 ..< length).map { _ in UInt8.random(in: 0 ... 255, using: &random) }
            try Garbage.send(bytes, port: control)
        }
        #expect(try await !Client(http).complete("The cat", tokens: 4).isEmpty)
        #expect(job.stop() == 0)
        job.expectNothingLeft()
    }
}
