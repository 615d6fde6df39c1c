import Foundation
import Testing

@testable import Topology

@Suite struct SystemFilesTests {
    @Test func `a file that the kernel gives in parts is read whole`() throws {
        // One line for each mapping of this process; the parts are of a page at most.
        let maps = try #require(SystemFiles().text("proc/self/maps"))
        #expect(maps.utf8.count > 2 * 4096)
        #expect(maps.contains("[stack]"))
    }

    @Test func `what is not there is nil, and space around a text is left out`() throws {
        let root = FileManager.default.temporaryDirectory
            .appending(path: "apus-files-\(UUID().uuidString)").path(percentEncoded: false)
        defer { try? FileManager.default.removeItem(atPath: root) }
        try FileManager.default.createDirectory(
            atPath: root + "/proc", withIntermediateDirectories: true)
        try Data("MemTotal:  16 kB\nMask:\t00ff\n".utf8).write(
            to: URL(filePath: root + "/proc/meminfo"))
        let files = SystemFiles(root: root)
        #expect(files.number("MemTotal:", in: "proc/meminfo") == 16)
        #expect(files.word("Mask:", in: "proc/meminfo") == "00ff")
        #expect(files.number("Swap:", in: "proc/meminfo") == nil)
        #expect(files.text("proc/none") == nil)
        #expect(files.residentBytes(of: "self") == 0)
        #expect(SystemFiles().residentBytes(of: "self") > 1 << 20)
    }

    @Test func `control groups are those around the process, of both versions`() throws {
        let root = FileManager.default.temporaryDirectory
            .appending(path: "apus-groups-\(UUID().uuidString)").path(percentEncoded: false)
        defer { try? FileManager.default.removeItem(atPath: root) }
        for (file, text) in [
            ("proc/self/cgroup", "4:cpu,pids:/x\n0::/a/b\n"),
            ("sys/fs/cgroup/a/pids.max", "max\n"), ("sys/fs/cgroup/a/b/pids.max", "70\n"),
            ("sys/fs/cgroup/pids/x/pids.max", "9223372036854771712\n"),
        ] {
            let url = URL(filePath: root + "/" + file)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
        }
        let groups = ControlGroups(SystemFiles(root: root))
        let pids = groups.groups(of: "pids")
        #expect(
            pids.map(\.folder) == [
                "sys/fs/cgroup/pids", "sys/fs/cgroup/pids/x", "sys/fs/cgroup", "sys/fs/cgroup/a",
                "sys/fs/cgroup/a/b",
            ])
        #expect(pids.map(\.isFormer) == [true, true, false, false, false])
        #expect(pids.map(\.isInnermost) == [false, true, false, false, true])
        #expect(groups.leastNumber("pids", "pids.max", former: "pids.max") == 70)
        #expect(groups.leastCores == nil)
    }
}
