import Glibc
import Topology

/// What makes two processes able to share memory and see each other's state.
enum NodeIdentity {
    /// One kernel, one process namespace, one network namespace: a lab's nodes are namespaces of
    /// one kernel, and must count as machines.
    static func current() -> String {
        let parts = ["pid", "net"].map { namespace($0) }
        return ([bootIdentifier()] + parts).joined(separator: "/")
    }

    /// The part of an identity that names the kernel, whose cores all its nodes share.
    static func kernel(of node: String) -> Substring { node.prefix { $0 != "/" } }

    private static func namespace(_ kind: String) -> String {
        var status = stat()
        guard unsafe stat("/proc/self/ns/\(kind)", &status) == 0 else { return "-" }
        return "\(kind):\(status.st_ino)"
    }

    private static func bootIdentifier() -> String {
        SystemFiles().text("proc/sys/kernel/random/boot_id") ?? "-"
    }
}
