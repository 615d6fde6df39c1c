import Topology

/// What the control groups around this process allow, of version 2 and 1.
struct ControlGroups {
    private let files: SystemFiles

    init(_ files: SystemFiles) { self.files = files }

    /// The least number that a file of the group, or of one around it, holds.
    ///
    /// - Parameters:
    ///   - former: The file's name in version 1.
    func leastNumber(_ controller: String, _ name: String, former: String) -> Int? {
        texts(controller, name, former: former).compactMap { text in
            // Version 1 writes a number that no machine has for no limit.
            text.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }
        }.filter { $0 < 1 << 60 }.min()
    }

    /// Cores that the groups leave: quota over period.
    var leastCores: Double? {
        let second = texts("cpu", "cpu.max", former: "").compactMap { text -> Double? in
            let words = text.split(separator: " ").map { Double($0) }
            guard words.count == 2, let quota = words[0], let period = words[1], period > 0
            else { return nil }
            return quota / period
        }
        let quotas = texts("cpu", "", former: "cpu.cfs_quota_us").map { Double($0) ?? -1 }
        let periods = texts("cpu", "", former: "cpu.cfs_period_us").map { Double($0) ?? 0 }
        let first = zip(quotas, periods).filter { $0 > 0 && $1 > 0 }.map { $0 / $1 }
        return (first + second).min()
    }

    /// The texts of a file in the groups of a controller, from the root down.
    private func texts(_ controller: String, _ name: String, former: String) -> [String] {
        let lines = (files.text("proc/self/cgroup") ?? "").split(separator: "\n")
        return lines.flatMap { line -> [String] in
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { return [] }
            let isFormer = fields[1].split(separator: ",").contains(Substring(controller))
            guard fields[1].isEmpty || isFormer else { return [] }
            let file = isFormer ? former : name
            guard !file.isEmpty else { return [] }
            var path = isFormer ? "sys/fs/cgroup/\(controller)" : "sys/fs/cgroup"
            let folders = [""] + fields[2].split(separator: "/").map { "/\($0)" }
            return folders.compactMap { folder in
                path += folder
                return files.text("\(path)/\(file)")
            }
        }
    }
}
