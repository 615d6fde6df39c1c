import Foundation
import Models
import Tensors
import Testing
import Topology

@testable import Serving

/// What can be known of memory and context before a weight is read.
@Suite struct MachineMemoryTests {
    private func machine(_ files: [String: String]) throws -> String {
        let root = FileManager.default.temporaryDirectory.appending(
            path: "apus-machine-\(UUID().uuidString)")
        for (name, text) in files {
            let file = root.appending(path: name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        return root.path(percentEncoded: false) + "/"
    }

    @Test(arguments: [
        (["proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "700\n"], 700),
        (
            [
                "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "700\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
            ], 700
        ),
        (["proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "9000\n"], 1000),
        (
            [
                "proc/self/cgroup": "5:cpu:/x\n4:memory:/x\n",
                "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "300\n",
            ], 300
        ),
        ([:], 1000),
    ])
    func `memory is the machine's, or what a control group leaves`(
        files: [String: String], bytes: Int
    ) throws {
        let root = try machine(files)
        defer { try? FileManager.default.removeItem(atPath: root) }
        #expect(MachineMemory.byteCount(root: root, installed: 1000) == bytes)
    }

    @Test func `free memory is what the fullest control group leaves beside its pages`() throws {
        let group = "sys/fs/cgroup/a"
        let root = try machine([
            "proc/self/cgroup": "0::/a/b\n", group + "/memory.max": "700\n",
            group + "/memory.current": "500\n",
            group + "/memory.stat": "anon 300\ninactive_file 150\n",
            group + "/b/memory.max": "600\n", group + "/b/memory.current": "100\n",
        ])
        defer { try? FileManager.default.removeItem(atPath: root) }
        #expect(MachineMemory.freeOfGroups(root: root) == 350)
        let free = try machine([:])
        defer { try? FileManager.default.removeItem(atPath: free) }
        #expect(MachineMemory.freeOfGroups(root: free) == nil)
        #expect(MachineMemory.free(root: root) == 350)
        #expect(MachineMemory.free(root: free) == nil)
    }

    @Test(arguments: [(600, 600 << 10), (1, 1 << 10), (900, 700 << 10)])
    func `what is free is what the machine has, or less where a control group leaves less`(
        available: Int, bytes: Int
    ) throws {
        let root = try machine([
            "proc/meminfo": "MemTotal: 999 kB\nMemAvailable:  \(available) kB\n",
            "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "\(700 << 10)\n",
        ])
        defer { try? FileManager.default.removeItem(atPath: root) }
        #expect(MachineMemory.free(root: root) == bytes)
        #expect(try #require(MachineMemory.free()) > 0, "this machine says it")
    }

    @Test func `free memory of version 1 counts the pages of the groups inside`() throws {
        let group = "sys/fs/cgroup/memory/x"
        let files = [
            "proc/self/cgroup": "4:memory:/x\n", group + "/memory.limit_in_bytes": "700\n",
            group + "/memory.usage_in_bytes": "500\n",
            group + "/memory.stat": "inactive_file 50\ntotal_cache 300\ntotal_inactive_file 150\n",
        ]
        let root = try machine(files)
        defer { try? FileManager.default.removeItem(atPath: root) }
        #expect(MachineMemory.freeOfGroups(root: root) == 350)
    }

    @Test func `a cache beyond the machine's memory is refused with its bytes`() throws {
        var rank = ServingRankConfiguration(directory: Golden.stories)
        try rank.validate(ranks: 2)
        rank.cacheTokens = 1 << 32
        let shape = try ModelConfiguration.load(directory: Golden.stories)
        let each = BlockCache.bytesPerToken(of: shape, format: .bfloat16)
        let error = #expect(throws: ServingError.self) { try rank.validate(ranks: 2) }
        #expect(error?.exitStatus == .badInput)
        #expect(error?.message.contains("need \((1 << 32) * each * 2) bytes") == true)
        #expect(error?.message.contains("on each of 2 ranks") == true)
    }

    @Test func `the bytes of a token are those of the cache`() throws {
        let shape = try ModelConfiguration.load(directory: Golden.stories)
        for format in [EntryFormat.bfloat16, .float32] {
            let cache = BlockCache(configuration: shape, format: format, blockCount: 1)
            #expect(BlockCache.bytesPerToken(of: shape, format: format) == cache.bytesPerToken)
        }
    }

    @Test func `a context beyond the model's is refused with both numbers`() throws {
        var rank = ServingRankConfiguration(directory: Golden.stories)
        let positions = try ModelConfiguration.load(directory: Golden.stories).positionLimit
        rank.contextTokens = positions
        try rank.validate(ranks: 1)
        rank.contextTokens = positions + 1
        let error = #expect(throws: ServingError.self) { try rank.validate(ranks: 1) }
        #expect(
            error?.message.hasPrefix("contextTokens is \(positions + 1): the model has") == true)
    }

    @Test func `a lost rank ends a program otherwise than a server that is not there`() {
        #expect(ServingError.rankLost(message: "m").exitStatus == .lost)
        #expect(ServingError.unavailable(message: "m").exitStatus == .failed)
    }

    @Test func `a request of a lost rank fails for that reason`() async throws {
        let router = LeastLoadedRouter(rankCount: 2) { _, _ in }
        let request = GenerationRequest(
            id: RequestID(rawValue: 1), prompt: [1], maxNewTokens: 1)
        let stream = try await router.submit(request)
        router.lost(1, reason: "its process ended")
        let error = await #expect(throws: ServingError.self) { for try await _ in stream {} }
        #expect(error == .rankLost(message: "rank 1 left: its process ended"))
        await #expect(throws: ServingError.self) { try await router.submit(request) }
    }
}
