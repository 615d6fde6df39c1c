import Glibc

/// A file that is written from front to back, or in places, and reports what the system says.
@safe public final class FileSink: Sendable {
    /// As given.
    public let path: String
    private let descriptor: Int32

    /// Creates the file, or empties it.
    public init(path: String) throws(FileError) {
        self.path = path
        descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileError(call: "open", path: path, code: errno) }
    }

    /// Opens a file that is there, to be written in places.
    public init(existing path: String) throws(FileError) {
        self.path = path
        descriptor = unsafe open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(call: "open", path: path, code: errno) }
    }

    /// Opens a file that is there, to be lengthened: every process appends behind the others.
    public init(appendingTo path: String) throws(FileError) {
        self.path = path
        descriptor = unsafe open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(call: "open", path: path, code: errno) }
    }

    deinit { close(descriptor) }

    /// Gives the file a length; what was not written reads as zeros and takes no room on the disk.
    public func stretch(to byteCount: Int) throws(FileError) {
        guard ftruncate(descriptor, off_t(byteCount)) == 0 else {
            throw FileError(call: "ftruncate", path: path, code: errno)
        }
    }

    /// Appends all bytes, or throws: a full disk is an error here, not a short file later.
    public func append(_ bytes: RawSpan) throws(FileError) {
        let code = unsafe Self.writeAll(bytes) { from, count, _ in
            unsafe Glibc.write(descriptor, from, count)
        }
        guard code == 0 else { throw FileError(call: "write", path: path, code: code) }
    }

    /// Writes all bytes at a place, or throws. Threads may write different places at once.
    public func write(_ bytes: RawSpan, at offset: Int) throws(FileError) {
        let code = unsafe Self.writeAll(bytes) { from, count, done in
            unsafe pwrite(descriptor, from, count, offset + done)
        }
        guard code == 0 else { throw FileError(call: "pwrite", path: path, code: code) }
    }

    /// Calls `write` until it has taken all bytes; returns the system's error number or 0.
    private static func writeAll(
        _ bytes: RawSpan, _ write: (UnsafeRawPointer, Int, Int) -> Int
    ) -> Int32 {
        unsafe bytes.withUnsafeBytes { bytes in
            var done = 0
            while done < bytes.count {
                let count = unsafe write(bytes.baseAddress! + done, bytes.count - done, done)
                if count < 0 {
                    if errno == EINTR { continue }
                    return errno
                }
                done += count
            }
            return 0
        }
    }

    /// Appends the bytes of values, in the order of this machine (little-endian wherever we run).
    public func append<Value: BitwiseCopyable>(_ values: [Value]) throws(FileError) {
        try unsafe append(values.span.bytes)
    }

    /// Gives the file a name, whatever had it before; one of both is always there.
    public func publish(as name: String) throws(FileError) {
        guard unsafe rename(path, name) == 0 else {
            throw FileError(call: "rename", path: name, code: errno)
        }
    }

    /// Throws what the system says of earlier writes only when a file is closed, as network file
    /// systems do.
    public func flush() throws(FileError) {
        let other = dup(descriptor)
        guard other >= 0, close(other) == 0 else {
            throw FileError(call: "close", path: path, code: errno)
        }
    }

    /// Waits until the disk has everything.
    public func synchronize() throws(FileError) { try Self.synchronize(descriptor, path) }

    /// Waits until the disk has the names in a folder: what was made there, renamed or removed.
    public static func synchronize(folder path: String) throws(FileError) {
        let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(call: "open", path: path, code: errno) }
        defer { close(descriptor) }
        try synchronize(descriptor, path)
    }

    /// Removes a folder, if it is empty.
    ///
    /// - Throws: `FileError`, with ENOTEMPTY if something is in it.
    public static func remove(emptyFolder path: String) throws(FileError) {
        guard unsafe rmdir(path) == 0 else {
            throw FileError(call: "rmdir", path: path, code: errno)
        }
    }

    private static func synchronize(_ descriptor: Int32, _ path: String) throws(FileError) {
        guard fsync(descriptor) == 0 else {
            throw FileError(call: "fsync", path: path, code: errno)
        }
    }
}
