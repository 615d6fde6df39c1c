import Foundation

/// How much memory the processes of this machine may use.
package enum MachineMemory {
    /// Bytes of the machine, or of the control group this process is in, whichever is less.
    ///
    /// - Parameter root: The folder that holds `proc` and `sys`.
    static func byteCount(
        root: String = "/", installed: UInt64 = ProcessInfo.processInfo.physicalMemory
    ) -> Int {
        Int(clamping: groups(root).map(\.limit).min().map { min($0, installed) } ?? installed)
    }

    /// Bytes that a process of this machine can have without swapping, files' pages included: what
    /// the machine has, or what a control group leaves; nil where the system keeps no count.
    package static func free(root: String = "/") -> Int? {
        let lines = (text(root + "proc/meminfo") ?? "").split(separator: "\n")
        let key = "MemAvailable:"
        let machine = lines.first { $0.hasPrefix(key) }
            .flatMap { number(String($0.dropFirst(key.count))) }.map { $0 << 10 }
        return [machine, freeOfGroups(root: root)].compactMap { $0 }.min()
    }

    /// Bytes that the control group of this process and those around it leave beside what they use,
    /// where files' pages that can be given back count as free; nil where none has a limit.
    static func freeOfGroups(root: String = "/") -> Int? {
        groups(root).map { group in
            let used = text(group.usage).flatMap(number) ?? 0
            return max(0, Int(clamping: group.limit) - max(0, used - pages(group)))
        }.min()
    }

    /// Bytes of files' pages that a control group can give back.
    ///
    /// The usage of a group includes that of the groups inside it. In version 1 only the lines of
    /// `total_` do too; version 2 has none of these, and its plain lines include them.
    private static func pages(_ group: Group) -> Int {
        let lines = (text(group.statistics) ?? "").split(separator: "\n")
        for key in ["total_inactive_file ", "inactive_file "] {
            guard let line = lines.first(where: { $0.hasPrefix(key) }) else { continue }
            return number(String(line.dropFirst(key.count))) ?? 0
        }
        return 0
    }

    private static func number(_ text: String) -> Int? {
        text.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }
    }

    /// A control group that has a limit, and the files that say what it uses.
    private struct Group {
        let limit: UInt64
        let usage: String
        let statistics: String
    }

    /// The control group and those around it that limit memory, of version 2 and 1.
    private static func groups(_ root: String) -> [Group] {
        let lines = (text(root + "proc/self/cgroup") ?? "").split(separator: "\n")
        return lines.flatMap { line -> [Group] in
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { return [] }
            let isMemory = fields[1].split(separator: ",").contains("memory")
            guard fields[1].isEmpty || isMemory else { return [] }
            let base = root + (isMemory ? "sys/fs/cgroup/memory" : "sys/fs/cgroup")
            let file = isMemory ? "memory.limit_in_bytes" : "memory.max"
            var path = ""
            let folders = [""] + fields[2].split(separator: "/").map { "/\($0)" }
            return folders.compactMap { folder in
                path += folder
                let words = text("\(base)\(path)/\(file)")?.split(whereSeparator: \.isWhitespace)
                // "max" is no limit.
                guard let limit = words?.first.flatMap({ UInt64($0) }) else { return nil }
                let usage = isMemory ? "memory.usage_in_bytes" : "memory.current"
                return Group(
                    limit: limit, usage: "\(base)\(path)/\(usage)",
                    statistics: "\(base)\(path)/memory.stat")
            }
        }
    }

    private static func text(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }
}
