import Foundation

/// How many cores this process may keep busy.
public struct CoreLimit: Sendable, Equatable {
    /// Cores, at least 1. A part of a core counts as one.
    public let cores: Int
    /// What allows no more of them.
    private let source: String

    /// Of this process, as it is now.
    public static var ofProcess: CoreLimit {
        CoreLimit(online: ProcessInfo.processInfo.activeProcessorCount)
    }

    /// The least of what limits a process.
    ///
    /// - Parameters:
    ///   - online: Cores of the machine.
    ///   - root: The folder that holds `proc` and `sys`.
    package init(online: Int, root: String = "/") {
        let files = SystemFiles(root: root)
        var limit = (max(1, online), "the machine has no more")
        if let allowed = Self.allowed(files), allowed < limit.0 {
            limit = (allowed, "its CPU affinity allows no more")
        }
        if let quota = ControlGroups(files).leastCores, quota < Double(limit.0) {
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

    /// Cores that the process may run on: the bits of a mask, as `3` or `f,ffffffff` (proc(5)).
    private static func allowed(_ files: SystemFiles) -> Int? {
        let words = files.word("Cpus_allowed:", in: "proc/self/status")?.split(separator: ",")
        let counts = (words ?? []).map { UInt32($0, radix: 16)?.nonzeroBitCount }
        guard !counts.isEmpty, !counts.contains(nil) else { return nil }
        return counts.compactMap(\.self).reduce(0, +)
    }
}
