import Glibc

/// What is written as it stands: files that are no regular ones, such as pipes and devices.
public enum WritableFile {
    /// The type bits (`S_IFMT`) of what a name leads to, links followed; nil if nothing is there.
    public static func kind(of path: String) -> UInt32? {
        var found = stat()
        return unsafe stat(path, &found) == 0 ? found.st_mode & S_IFMT : nil
    }

    /// Opens a device or a pipe to be written; writes then wait for its reader.
    ///
    /// - Returns: A descriptor, which the caller closes.
    /// - Throws: `FileError`, with ENXIO for a pipe that nobody reads: it is not waited for.
    public static func open(_ path: String) throws(FileError) -> Int32 {
        let descriptor = unsafe Glibc.open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(call: "open", path: path, code: errno) }
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        return descriptor
    }
}
