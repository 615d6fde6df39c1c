import Foundation

/// How often the kernel's out-of-memory killer struck, as the files that count it say.
///
/// Compared before and after a process died of SIGKILL, the counts tell whether the kernel sent it.
struct OutOfMemoryKills: Sendable {
    /// A file and the number behind `oom_kill` in it.
    private let counts: [(file: String, count: Int)]

    /// The counts of this process's control groups, then that of the whole machine.
    ///
    /// - Parameter root: The folder that holds `proc` and `sys`.
    static func now(root: String = "/") -> OutOfMemoryKills {
        OutOfMemoryKills(
            counts: files(root).compactMap { file in
                count(in: root + file).map { ("/" + file, $0) }
            })
    }

    /// What says that the killer struck between two looks.
    ///
    /// - Returns: Nil when no count rose.
    func rise(to later: OutOfMemoryKills) -> String? {
        for (file, count) in counts {
            guard let now = later.counts.first(where: { $0.file == file })?.count, now > count
            else { continue }
            return "oom_kill in \(file) rose from \(count) to \(now)"
        }
        return nil
    }

    /// Control groups of version 2 and 1, and the machine.
    private static func files(_ root: String) -> [String] {
        let lines = (text(root + "proc/self/cgroup") ?? "").split(separator: "\n")
        let groups = lines.compactMap { line -> String? in
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { return nil }
            let path = fields[2] == "/" ? "" : String(fields[2])
            if fields[1].isEmpty { return "sys/fs/cgroup\(path)/memory.events" }
            guard fields[1].split(separator: ",").contains("memory") else { return nil }
            return "sys/fs/cgroup/memory\(path)/memory.oom_control"
        }
        return groups + ["proc/vmstat"]
    }

    private static func count(in path: String) -> Int? {
        let lines = (text(path) ?? "").split(separator: "\n")
        let line = lines.first { $0.hasPrefix("oom_kill ") }
        return line?.split(separator: " ").last.flatMap { Int($0) }
    }

    private static func text(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }
}
