import Foundation
import Topology

/// How much memory the processes of this machine may use.
package enum MachineMemory {
    /// Bytes of the machine, or of the control group this process is in, whichever is less.
    ///
    /// - Parameter root: The folder that holds `proc` and `sys`.
    static func byteCount(
        root: String = "/", installed: UInt64 = ProcessInfo.processInfo.physicalMemory
    ) -> Int {
        let machine = Int(clamping: installed)
        return min(machine, limits(SystemFiles(root: root)).map(\.bytes).min() ?? machine)
    }

    /// Bytes that a process of this machine can have without swapping, files' pages included: what
    /// the machine has, or what a control group leaves; nil where the system keeps no count.
    package static func free(root: String = "/") -> Int? {
        let machine = SystemFiles(root: root).number("MemAvailable:", in: "proc/meminfo")
            .map { $0 << 10 }
        return [machine, freeOfGroups(root: root)].compactMap { $0 }.min()
    }

    /// Bytes that the control group of this process and those around it leave beside what they use,
    /// where files' pages that can be given back count as free; nil where none has a limit.
    static func freeOfGroups(root: String = "/") -> Int? {
        let files = SystemFiles(root: root)
        return limits(files).map { group, bytes in
            let usage = group.isFormer ? "memory.usage_in_bytes" : "memory.current"
            let used = files.text("\(group.folder)/\(usage)").flatMap { Int($0) } ?? 0
            // The usage of a group includes that of the groups inside it. In version 1 only the
            // lines of `total_` do too; version 2 has none of these, and its plain lines include
            // them.
            let statistics = "\(group.folder)/memory.stat"
            let pages =
                files.number("total_inactive_file ", in: statistics)
                ?? files.number("inactive_file ", in: statistics)
            return max(0, bytes - max(0, used - (pages ?? 0)))
        }.min()
    }

    /// The control group and those around it that limit memory.
    private static func limits(
        _ files: SystemFiles
    ) -> [(group: ControlGroups.Group, bytes: Int)] {
        let groups = ControlGroups(files)
        return groups.groups(of: "memory").compactMap { group in
            groups.limit(group, "memory.max", former: "memory.limit_in_bytes").map { (group, $0) }
        }
    }
}
