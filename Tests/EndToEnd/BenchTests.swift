import Foundation
import Glibc
import Testing

/// `apus bench all-to-all` given what makes no sense, and ranks that die.
@Suite(.serialized) struct BenchTests {
    private static let small = [
        "bench", "all-to-all", "--tokens", "16", "--hidden", "256", "--experts", "16",
        "--top-k", "4", "--iterations", "2", "--warm-up", "0",
    ]

    @Test(arguments: [
        ("--top-k 0", "top-k 0 is out of range"),
        ("--top-k 17", "top-k 17 is out of range"),
        ("--experts 2 --top-k 1 --ranks 4", "4 ranks are too many: the model has 2 routed experts"),
        ("--hidden 0", "must not be negative"),
        ("--tokens 5000000", "maximum tokens per rank 5000000 is out of range"),
        ("--tokens 260000 --hidden 131072", "memory of this node"),
        (
            "--path library --mode low-latency --tokens 300",
            "tokens per rank 300 is out of range: the limits are 0 and 256 (mode low-latency)"
        ),
        ("--device plane9", "no network device plane9: this node has"),
        ("--transport tcp --device plane9", "no network device plane9: this node has"),
        ("--transport carrier-pigeon", "'carrier-pigeon' is invalid for '--transport"),
        ("--routing zipf:nan", "--routing zipf:nan"),
        ("--routing file:/nowhere", "a JSON array of counts is expected"),
        ("--groups 7", "groups 7 is out of range"),
        ("--dispatch int8", "--dispatch int8: fp8, fp8-pow2, bf16 or f32"),
        ("--ranks 0", "--ranks 0 is outside 1...1024"),
    ])
    func `bad input ends with 2 and its name`(words: String, fact: String) throws {
        let bench = try RunningBench(Self.small + words.split(separator: " ").map(String.init))
        #expect(bench.wait() == 2)
        #expect(bench.errors.contains(fact), "\(bench.errors)")
        #expect(bench.output.isEmpty)
    }

    @Test(arguments: [
        ("--hidden 512", "hidden size 512"), ("--experts 32", "experts 32"),
        ("--top-k 2", "top-k 2"), ("--dispatch fp8", "dispatch codec fp8"),
        ("--combine f32", "combine codec f32"), ("--tokens 32", "maximum tokens per rank 32"),
        ("--mode normal", "mode normal"), ("--transport tcp", "transport tcp"),
        ("--seed 7", "seed 7"), ("--iterations 3", "iterationCount 3"),
    ])
    func `ranks that disagree both say with whom and about what`(
        words: String, fact: String
    ) throws {
        let both = try Self.start(["", words])
        #expect(both.map { $0.wait() } == [2, 2])
        #expect(both[0].errors.contains("rank 1 has \(fact), this rank has"), "\(both[0].errors)")
        #expect(both[1].errors.contains("rank 0 has"), "\(both[1].errors)")
    }

    @Test func `a port that is taken is named`() async throws {
        let port = try RunningBench.freePort()
        // Another run's rank 0 waits there for its rank 1.
        let holder = try Self.start(["", ""], port: port, only: 0)[0]
        try await RunningBench.waitForListener(on: port)
        let bench = try Self.start(["", ""], port: port, only: 0)[0]
        #expect(bench.wait() == 2)
        #expect(bench.errors.contains("127.0.0.1:\(port) failed: Address already in use"))
        holder.process.terminate()
    }

    @Test(arguments: [("shm", 2), ("shm", 0), ("tcp", 2), ("ucx", 2)], [0.1, 1.2])
    func `a rank that is killed is named by every survivor`(
        victim: (transport: String, rank: Int), seconds: Double
    ) async throws {
        let more = "--transport \(victim.transport) --pressure 60"
        let port = try RunningBench.freePort()
        let all = try Self.start([more, more, more], port: port)
        // A rank that dies before it has said its number is missed when joining takes 60 s.
        try await Wait.until("two ranks are connected") {
            all.count { $0.process.isConnected(to: port) } >= 2
        }
        try await Task.sleep(for: .seconds(seconds))
        kill(all[victim.rank].process.processIdentifier, SIGKILL)
        for (rank, bench) in all.enumerated() where rank != victim.rank {
            #expect(bench.wait(seconds: 90) == 3, "rank \(rank): \(bench.errors)")
            #expect(bench.errors.contains("rank \(victim.rank) "), "\(bench.errors)")
        }
        let left = try FileManager.default.contentsOfDirectory(atPath: "/dev/shm")
        #expect(!left.contains { $0.contains("apus") })
    }

    @Test(arguments: ["--transport shm", "--transport tcp --nodes 0,1"])
    func `two micro-batches give the bits of one, and both are timed`(words: String) throws {
        let bench = try RunningBench(
            ["bench", "overlap", "--model", RunningJob.model, "--ranks", "2", "-p", "48"]
                + ["-b", "1,6", "-r", "2", "-t", "1", "--json"]
                + words.split(separator: " ").map(String.init))
        #expect(bench.wait() == 0, "\(bench.errors)")
        let object = try JSONSerialization.jsonObject(with: Data(bench.output.utf8))
        let results = try #require(object as? [String: [String: Any]])
        #expect(results.keys.sorted() == ["prompt 48", "streams 1", "streams 6"])
        for (name, result) in results {
            #expect(result["isSame"] as? Bool == true, "\(name)")
            for way in ["whole", "split"] {
                let times = try #require(result[way] as? [String: Double])
                let step = try #require(times["step"])
                let travel = try #require(times["travel"])
                #expect(step > 0 && travel > 0 && travel < step, "\(name) \(way): \(times)")
            }
        }
    }

    /// Ranks as torchrun starts them, each with words of its own.
    private static func start(_ words: [String], port: Int? = nil, only: Int? = nil) throws
        -> [RunningBench]
    {
        let port = try port ?? RunningBench.freePort()
        return try words.enumerated().filter { only == nil || $0.offset == only }.map {
            rank, more in
            try RunningBench(
                small + more.split(separator: " ").map(String.init),
                environment: [
                    "RANK": "\(rank)", "WORLD_SIZE": "\(words.count)",
                    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "\(port)",
                ])
        }
    }
}
