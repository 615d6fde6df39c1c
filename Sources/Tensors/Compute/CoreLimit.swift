internal import CKernels
import Foundation

/// How many cores this process may keep busy.
public struct CoreLimit: Sendable, Equatable {
    /// Cores, at least 1. A part of a core counts as one.
    public let cores: Int
    /// What allows no more of them.
    package let source: String

    /// Of this process, as it is now.
    public static var ofProcess: CoreLimit {
        CoreLimit(
            online: ProcessInfo.processInfo.activeProcessorCount,
            allowed: Int(ck_cores_allowed()), root: "/")
    }

    /// The least of what limits a process.
    ///
    /// - Parameters:
    ///   - online: Cores of the machine.
    ///   - allowed: Cores that the process may run on; 0 where the system does not say.
    ///   - root: The folder that holds `proc` and `sys`.
    package init(online: Int, allowed: Int, root: String) {
        var limit = (max(1, online), "the machine has no more")
        if allowed > 0, allowed < limit.0 {
            limit = (allowed, "its CPU affinity allows no more")
        }
        if let quota = Self.quota(root), quota < Double(limit.0) {
            limit = (max(1, Int(quota.rounded(.up))), "its control group allows no more")
        }
        (cores, source) = limit
    }

    /// What to say where more threads compute than cores may; nil for nothing.
    public func note(threads: Int) -> String? {
        guard threads > cores else { return nil }
        return "\(threads) threads on \(cores == 1 ? "1 core" : "\(cores) cores"):"
            + " \(source); \(cores) would be as fast"
    }

    /// Cores that the control group and those around it grant per period, of version 2 and 1.
    private static func quota(_ root: String) -> Double? {
        let lines = (text(root + "proc/self/cgroup") ?? "").split(separator: "\n")
        return lines.flatMap { line -> [Double] in
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { return [] }
            let isFirst = fields[1].split(separator: ",").contains("cpu")
            guard fields[1].isEmpty || isFirst else { return [] }
            var folder = root + (isFirst ? "sys/fs/cgroup/cpu" : "sys/fs/cgroup")
            return ([""] + fields[2].split(separator: "/").map { "/\($0)" }).compactMap { name in
                folder += name
                return isFirst
                    ? cores(text(folder + "/cpu.cfs_quota_us"), text(folder + "/cpu.cfs_period_us"))
                    : cores(text(folder + "/cpu.max"), "")
            }
        }.min()
    }

    /// Microseconds of computing over microseconds of a period: "200000 100000". Neither "max" nor
    /// -1 is a limit.
    private static func cores(_ quota: String?, _ period: String?) -> Double? {
        let words = "\(quota ?? "") \(period ?? "")".split(whereSeparator: \.isWhitespace)
        guard words.count == 2, let part = Double(words[0]), let whole = Double(words[1]),
            part > 0, whole > 0
        else { return nil }
        return part / whole
    }

    private static func text(_ path: String) -> String? {
        FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }
}
