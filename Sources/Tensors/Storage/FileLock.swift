import Glibc

/// Owns the only lock of a file. Another request for it, in this process or another, is refused.
/// The system releases the lock when the process ends, however it does.
///
/// 1. The locked file is the one that has the name: an earlier owner may have removed or moved its
///    file between the opening and the lock, and a lock of that file would keep nobody out.
@safe public final class FileLock: Sendable {
    private let descriptor: Int32

    /// Times that a file may be replaced before the name counts as somebody else's.
    private static let attemptLimit = 100

    /// Makes the file if it is not there.
    ///
    /// - Throws: `FileError`, with EWOULDBLOCK if somebody has the lock.
    public init(path: String) throws(FileError) { descriptor = try Self.locked(path) }

    deinit { close(descriptor) }

    private static func locked(_ path: String) throws(FileError) -> Int32 {
        for _ in 0 ..< attemptLimit {
            let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else { throw FileError(call: "open", path: path, code: errno) }
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                let code = errno
                close(descriptor)
                throw FileError(call: "flock", path: path, code: code)
            }
            if names(path, descriptor) { return descriptor }
            close(descriptor)
        }
        throw FileError(call: "flock", path: path, code: EWOULDBLOCK)
    }

    /// Whether the path names the open file (1).
    private static func names(_ path: String, _ descriptor: Int32) -> Bool {
        var opened = stat()
        var named = stat()
        guard unsafe fstat(descriptor, &opened) == 0, unsafe stat(path, &named) == 0 else {
            return false
        }
        return opened.st_dev == named.st_dev && opened.st_ino == named.st_ino
    }
}
