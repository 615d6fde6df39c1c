import Glibc

/// Owns the only lock of a file. Another request for it, in this process or another, is refused.
/// The system releases the lock when the process ends, however it does.
@safe public final class FileLock: Sendable {
    private let descriptor: Int32

    /// Makes the file if it is not there.
    ///
    /// - Throws: `FileError`, with EWOULDBLOCK if somebody has the lock.
    public init(path: String) throws(FileError) {
        descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileError(call: "open", path: path, code: errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            close(descriptor)
            throw FileError(call: "flock", path: path, code: code)
        }
    }

    deinit { close(descriptor) }
}
