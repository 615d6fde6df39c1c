import Topology

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
        let files = SystemFiles(root: root)
        return OutOfMemoryKills(
            counts: names(files).compactMap { name in
                files.number("oom_kill ", in: name).map { ("/" + name, $0) }
            })
    }

    /// What says that the killer struck between two polls.
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
    private static func names(_ files: SystemFiles) -> [String] {
        let groups = ControlGroups(files).groups(of: "memory").filter(\.isInnermost)
        return groups.map {
            $0.folder + ($0.isFormer ? "/memory.oom_control" : "/memory.events")
        } + ["proc/vmstat"]
    }
}
