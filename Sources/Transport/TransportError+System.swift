import Glibc

extension TransportError {
    /// The error of the system call that just failed, in the kernel's words.
    static func system(_ call: String) -> TransportError {
        .call(call, status: unsafe String(cString: strerror(errno)))
    }
}
