import Foundation
import Testing

@testable import Cluster

@Suite struct OutOfMemoryKillsTests {
    /// A folder that stands for the root of a machine.
    private func machine(_ files: [String: String]) throws -> String {
        let root = try LaunchTests.temporaryFolder()
        for (name, text) in files {
            let file = root.appending(path: name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        return root.path(percentEncoded: false) + "/"
    }

    private func events(_ count: Int) -> String { "low 0\noom 3\noom_kill \(count)\n" }

    @Test func `a count of this control group that rose tells the killer`() throws {
        let root = try machine([
            "proc/self/cgroup": "0::/job/a\n", "sys/fs/cgroup/job/a/memory.events": events(2),
        ])
        defer { try? FileManager.default.removeItem(atPath: root) }
        let before = OutOfMemoryKills.now(root: root)
        #expect(before.rise(to: .now(root: root)) == nil)
        try events(3).write(
            toFile: root + "sys/fs/cgroup/job/a/memory.events", atomically: true, encoding: .utf8)
        #expect(
            before.rise(to: .now(root: root))
                == "oom_kill in /sys/fs/cgroup/job/a/memory.events rose from 2 to 3")
    }

    @Test(arguments: [
        ("4:cpu,cpuacct:/x\n3:memory:/x\n", "sys/fs/cgroup/memory/x/memory.oom_control"),
        ("0::/\n", "sys/fs/cgroup/memory.events"), ("0::/gone\n", "proc/vmstat"),
        ("", "proc/vmstat"),
    ])
    func `control groups of version 1, the root group and the whole machine count too`(
        groups: String, file: String
    ) throws {
        let root = try machine([
            "proc/self/cgroup": groups, file: "oom_kill_disable 0\noom_kill 0\n",
        ])
        defer { try? FileManager.default.removeItem(atPath: root) }
        let before = OutOfMemoryKills.now(root: root)
        try "oom_kill 1\n".write(toFile: root + file, atomically: true, encoding: .utf8)
        #expect(
            before.rise(to: .now(root: root)) == "oom_kill in /\(file) rose from 0 to 1")
    }

    @Test func `where nothing counts, nothing is said`() throws {
        let root = try machine([:])
        defer { try? FileManager.default.removeItem(atPath: root) }
        #expect(OutOfMemoryKills.now(root: root).rise(to: .now(root: root)) == nil)
    }
}
