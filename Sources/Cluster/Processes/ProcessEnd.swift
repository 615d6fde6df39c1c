import Glibc
import Topology

/// How a process ended: an exit of its own is told from a signal.
public enum ProcessEnd: Codable, Hashable, Sendable, CustomStringConvertible {
    /// It exited with this status.
    case exited(Int32)
    /// This signal killed it.
    case killed(signal: Int32)

    /// The number a shell would show: the exit status, or 128 + the signal.
    public var code: Int32 {
        switch self {
        case .exited(let status): status
        case .killed(let signal): ExitStatus.signal(signal).code
        }
    }

    /// Whether it exited with 0.
    public var isSuccess: Bool { self == .exited(0) }

    /// `exited with 2` or `was killed by signal 9 (SIGKILL)`.
    public var description: String {
        switch self {
        case .exited(let status): "exited with \(status)"
        case .killed(let signal):
            "was killed by signal \(signal)\(Self.names[signal].map { " (\($0))" } ?? "")"
        }
    }

    /// Signals that end workers in practice.
    private static let names: [Int32: String] = [
        SIGHUP: "SIGHUP", SIGINT: "SIGINT", SIGQUIT: "SIGQUIT", SIGILL: "SIGILL",
        SIGTRAP: "SIGTRAP", SIGABRT: "SIGABRT", SIGBUS: "SIGBUS", SIGFPE: "SIGFPE",
        SIGKILL: "SIGKILL", SIGSEGV: "SIGSEGV", SIGPIPE: "SIGPIPE", SIGALRM: "SIGALRM",
        SIGTERM: "SIGTERM", SIGXCPU: "SIGXCPU", SIGSYS: "SIGSYS",
    ]
}
