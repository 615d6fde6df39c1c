import Foundation
import Glibc
import Topology

/// A process that cannot be mistaken for a later one with the same number.
public struct ProcessIdentity: Hashable, Codable, Sendable {
    /// The process number.
    public let pid: Int32
    /// When it began, in clock ticks since boot (`/proc/PID/stat`, field 22).
    package let startTicks: UInt64

    /// This process.
    public static var current: ProcessIdentity {
        ProcessIdentity(pid: getpid(), startTicks: startTicks(of: getpid()) ?? 0)
    }

    /// The machine of this process, or its node of a lab, for messages and for folders that
    /// machines share.
    public static var node: String {
        ProcessInfo.processInfo.environment["APUS_NODE_NAME"] ?? ProcessInfo.processInfo.hostName
    }

    /// A process that lives now, or nil.
    public init?(pid: Int32) {
        guard let ticks = Self.startTicks(of: pid) else { return nil }
        self.init(pid: pid, startTicks: ticks)
    }

    private init(pid: Int32, startTicks: UInt64) {
        self.pid = pid
        self.startTicks = startTicks
    }

    /// True while this very process exists and has not become a zombie.
    public var isAlive: Bool { Self.startTicks(of: pid) == startTicks }

    private static func startTicks(of pid: Int32) -> UInt64? {
        guard
            let stat = SystemFiles().text("proc/\(pid)/stat"),
            let name = stat.lastIndex(of: ")")
        else { return nil }
        // After the name: state is field 3, start time field 22.
        let fields = stat[stat.index(after: name)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        return UInt64(fields[19])
    }
}
