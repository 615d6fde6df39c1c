import Foundation

/// How much memory the processes of this machine may use.
enum MachineMemory {
    /// Bytes of the machine, or of the control group this process is in, whichever is less.
    ///
    /// - Parameter root: The folder that holds `proc` and `sys`.
    static func byteCount(
        root: String = "/", installed: UInt64 = ProcessInfo.processInfo.physicalMemory
    ) -> Int {
        Int(clamping: limits(root).min().map { min($0, installed) } ?? installed)
    }

    /// What the control group and those around it allow, of version 2 and 1.
    private static func limits(_ root: String) -> [UInt64] {
        let lines = (text(root + "proc/self/cgroup") ?? "").split(separator: "\n")
        return lines.flatMap { line -> [UInt64] in
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
                return words?.first.flatMap { UInt64($0) }
            }
        }
    }

    private static func text(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }
}
