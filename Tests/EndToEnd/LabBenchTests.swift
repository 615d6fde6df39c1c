import Foundation
import Glibc
import Testing

/// Whether this machine lets us make network namespaces.
let labIsPossible: Bool = {
    let probe = Process()
    probe.executableURL = URL(filePath: "/usr/bin/env")
    probe.arguments = ["sh", "-c", "ip netns list && unshare --net true && tc -V"]
    probe.standardOutput = FileHandle.nullDevice
    probe.standardError = FileHandle.nullDevice
    guard geteuid() == 0, (try? probe.run()) != nil else { return false }
    probe.waitUntilExit()
    return probe.terminationStatus == 0
}()

/// The benchmark between nodes of a lab: real namespaces, veth and TCP.
@Suite(
    .enabled(if: labIsPossible, "needs root, iproute2 and network namespaces"), .serialized)
final class LabBenchTests {
    private let name = "bench-\(getpid())"
    private let file: URL

    init() throws {
        file = FileManager.default.temporaryDirectory.appending(path: "\(name).yaml")
        try Data(
            """
            name: \(name)
            about: Two nodes of two ranks with two networks, one of them slow.
            nodes:
              - {name: node0, ranks: 2}
              - {name: node1, ranks: 2}
            planes:
              - {name: plane0, gigabitsPerSecond: 1}
              - {name: plane1}
            """.utf8
        ).write(to: file)
    }

    deinit { try? FileManager.default.removeItem(at: file) }

    private var path: String { file.path(percentEncoded: false) }

    private func namespaces() throws -> [String] {
        let folder = "/run/netns"
        guard FileManager.default.fileExists(atPath: folder) else { return [] }
        return try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { $0.contains(name) }
    }

    private func expectNothingLeft() throws {
        #expect(try namespaces().isEmpty)
        let states = try? FileManager.default.contentsOfDirectory(atPath: "/run/apus/labs")
        #expect(states?.contains { $0.contains(name) } != true)
    }

    @Test(arguments: ["normal", "low-latency"])
    func `between nodes of a lab every byte is right, and travels on every plane`(
        mode: String
    ) throws {
        let bench = try RunningBench([
            "bench", "all-to-all", "--lab", path, "--mode", mode, "--tokens", "64", "--hidden",
            "1024", "--experts", "16", "--top-k", "4", "--iterations", "3", "--json",
        ])
        #expect(bench.wait() == 0, "\(bench.errors)")
        let object = try JSONSerialization.jsonObject(with: Data(bench.output.utf8))
        let result = try #require(object as? [String: Any])
        #expect(result["wrong"] as? Int == 0)
        let paths = try #require(result["transports"] as? [[String]])
        #expect(paths[0][1] == "shm")
        #expect(paths[0][2] == "tcp:plane0,plane1")
        try expectNothingLeft()
    }

    @Test func `a rank that is killed in a lab is named, and the lab goes`() async throws {
        let bench = try RunningBench([
            "bench", "all-to-all", "--lab", path, "--tokens", "64", "--hidden", "1024",
            "--experts", "16", "--top-k", "4", "--pressure", "60",
        ])
        try await kill(rank: 3)
        #expect(bench.wait() == 128 + SIGKILL || bench.wait() == 3, "\(bench.errors)")
        #expect(bench.errors.contains("rank 3 left during"), "\(bench.errors)")
        try expectNothingLeft()
    }

    @Test func `after its builder was killed, lab down ends what runs in it and removes it`()
        async throws
    {
        let lab = try RunningBench(["lab", "run", path, "--", "sleep", "600"])
        try await Wait.until("four programs run in the lab: \(lab.errors)") {
            try namespaces().count == 3 && sleepers().count == 4
        }
        Glibc.kill(lab.process.processIdentifier, SIGKILL)
        #expect(lab.wait() == 128 + SIGKILL)
        #expect(try namespaces().count == 3)
        let down = try RunningBench(["lab", "down", path])
        #expect(down.wait() == 0, "\(down.errors)")
        #expect(sleepers().isEmpty)
        try expectNothingLeft()
    }

    /// Processes of this test's lab that sleep.
    private func sleepers() -> [Int32] { processes { $0 == ["sleep", "600"] } }

    /// Processes in the lab whose words satisfy a condition.
    private func processes(where isWanted: ([String]) -> Bool) -> [Int32] {
        ProcessFiles.all().filter { pid in
            isWanted(ProcessFiles.words(of: pid))
                && ProcessFiles.variables(of: pid).contains("APUS_LAB=\(name)")
        }
    }

    /// Waits until the ranks exchange, then kills one.
    private func kill(rank: Int) async throws {
        try await Wait.until("four ranks run") {
            processes { $0.contains("all-to-all") && !$0.contains("ip") }.count == 4
        }
        let victim = try #require(
            processes { $0.contains("all-to-all") }.first { pid in
                ProcessFiles.variables(of: pid).contains("RANK=\(rank)")
            })
        // Exchanges go on for a minute and fill a plane; ranks that meet send kilobytes.
        try await Wait.until("the ranks exchange") {
            ProcessFiles.bytesSent(inNetworkOf: victim) > 8 << 20
        }
        Glibc.kill(victim, SIGKILL)
    }
}
