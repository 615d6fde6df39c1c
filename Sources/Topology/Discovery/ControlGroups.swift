/// What the control groups around this process allow, of version 2 and 1.
package struct ControlGroups {
    /// One control group.
    package struct Group {
        /// Below the root of `SystemFiles`, as `sys/fs/cgroup/job`.
        package let folder: String
        /// Of version 1, whose files have other names.
        package let isFormer: Bool
        /// This process is in it, and in none inside it.
        package let isInnermost: Bool
    }

    private let files: SystemFiles

    package init(_ files: SystemFiles) { self.files = files }

    /// The groups that a controller may limit, from the root to that of this process.
    package func groups(of controller: String) -> [Group] {
        let lines = (files.text("proc/self/cgroup") ?? "").split(separator: "\n")
        return lines.flatMap { line -> [Group] in
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { return [] }
            let isFormer = fields[1].split(separator: ",").contains(Substring(controller))
            guard fields[1].isEmpty || isFormer else { return [] }
            var folder = isFormer ? "sys/fs/cgroup/\(controller)" : "sys/fs/cgroup"
            let names = [""] + fields[2].split(separator: "/").map { "/\($0)" }
            return names.indices.map { index in
                folder += names[index]
                return Group(
                    folder: folder, isFormer: isFormer, isInnermost: index == names.count - 1)
            }
        }
    }

    /// The number in a file of a group; nil where none is, or one that stands for no limit.
    ///
    /// - Parameter former: The file's name in version 1.
    package func limit(_ group: Group, _ name: String, former: String) -> Int? {
        let text = files.text("\(group.folder)/\(group.isFormer ? former : name)")
        // Version 2 writes "max" for no limit, version 1 a number that no machine has.
        return text?.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }
            .flatMap { $0 < 1 << 60 ? $0 : nil }
    }

    /// The least number that a file of the group, or of one around it, holds.
    ///
    /// - Parameter former: The file's name in version 1.
    package func leastNumber(_ controller: String, _ name: String, former: String) -> Int? {
        groups(of: controller).compactMap { limit($0, name, former: former) }.min()
    }

    /// Cores that the groups leave: microseconds of computing over those of a period.
    package var leastCores: Double? {
        groups(of: "cpu").compactMap { group in
            let names = group.isFormer ? ["cpu.cfs_quota_us", "cpu.cfs_period_us"] : ["cpu.max"]
            let words = names.flatMap { name in
                (files.text("\(group.folder)/\(name)") ?? "").split(whereSeparator: \.isWhitespace)
            }
            // Neither "max" nor -1 is a limit.
            guard words.count == 2, let quota = Double(words[0]), let period = Double(words[1]),
                quota > 0, period > 0
            else { return nil }
            return quota / period
        }.min()
    }
}
