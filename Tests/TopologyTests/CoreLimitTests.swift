import Foundation
import Testing
import Topology

@Suite struct CoreLimitTests {
    /// A folder with these files, as the system shows them.
    private func limit(
        online: Int = 8, _ files: [String: String] = [:]
    ) throws -> CoreLimit {
        let root = FileManager.default.temporaryDirectory
            .appendingPathComponent("apus-cores-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: root) }
        for (path, text) in files {
            let file = root.appendingPathComponent(path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        return CoreLimit(online: online, root: root.path)
    }

    @Test func `without a limit all cores count, and no note is due`() throws {
        let limit = try limit()
        #expect(limit.cores == 8)
        #expect(limit.note(threads: 8) == nil)
        let note = try #require(limit.note(threads: 9))
        #expect(note == "9 threads on 8 cores: the machine has no more; 8 would be as fast")
    }

    @Test(arguments: [
        ("3", 2), ("80000001", 2), ("1,00000000", 1), ("ff,ffffffff", 8), ("", 8), ("?", 8),
    ])
    func `an affinity to fewer cores counts`(mask: String, cores: Int) throws {
        let limit = try limit([
            "proc/self/status": "Name:\tapus\nCpus_allowed:\t\(mask)\nCpus_allowed_list:\t0-7\n"
        ])
        #expect(limit.cores == cores)
        let note = try #require(limit.note(threads: 9))
        #expect(note.contains("affinity") == (cores < 8))
    }

    @Test func `the least quota of a control group and those around it counts`() throws {
        let limit = try limit([
            "proc/self/cgroup": "0::/pods/one\n",
            "sys/fs/cgroup/pods/cpu.max": "250000 100000\n",
            "sys/fs/cgroup/pods/one/cpu.max": "max 100000\n",
        ])
        #expect(limit.cores == 3)
        #expect(try #require(limit.note(threads: 4)).contains("control group"))
    }

    @Test func `a quota of version 1 counts, and -1 is none`() throws {
        let group = "4:cpu,cpuacct:/job\n1:name=systemd:/\n"
        let folder = "sys/fs/cgroup/cpu/job/"
        let files = ["proc/self/cgroup": group, folder + "cpu.cfs_period_us": "100000\n"]
        let quota = folder + "cpu.cfs_quota_us"
        #expect(try limit(files.merging([quota: "50000\n"]) { $1 }).cores == 1)
        #expect(try limit(files.merging([quota: "-1\n"]) { $1 }).cores == 8)
    }

    @Test func `the affinity of this process is read`() {
        #expect(CoreLimit.ofProcess.cores >= 1)
        #expect(CoreLimit.ofProcess.cores <= ProcessInfo.processInfo.activeProcessorCount)
    }
}
