import Glibc

/// A new file that is written from front to back and reports what the system says.
@safe public final class FileSink {
    /// As given.
    public let path: String
    private let descriptor: Int32

    /// Creates the file, or empties it.
    public init(path: String) throws(FileError) {
        self.path = path
        descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileError(call: "open", path: path, code: errno) }
    }

    deinit { close(descriptor) }

    /// Appends all bytes, or throws: a full disk is an error here, not a short file later.
    public func append(_ bytes: RawSpan) throws(FileError) {
        let code: Int32 = unsafe bytes.withUnsafeBytes { bytes in
            var done = 0
            while done < bytes.count {
                let count = unsafe Glibc.write(
                    descriptor, bytes.baseAddress! + done, bytes.count - done)
                if count < 0 {
                    if errno == EINTR { continue }
                    return errno
                }
                done += count
            }
            return 0
        }
        guard code == 0 else { throw FileError(call: "write", path: path, code: code) }
    }

    /// Appends the bytes of values, in the order of this machine (little-endian wherever we run).
    public func append<Value: BitwiseCopyable>(_ values: [Value]) throws(FileError) {
        try unsafe append(values.span.bytes)
    }

    /// Appends all values of a tensor.
    public func append(_ tensor: Tensor) throws(FileError) { try append(tensor.bytes) }

    /// Appends all values of a tensor, rounded to bf16.
    public func append(bfloat16 tensor: Tensor) throws(FileError) {
        var bytes = [UInt8](repeating: 0, count: tensor.count * 2)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        Quantisation.toBFloat16(tensor.span, into: &raw)
        try append(bytes)
    }

    /// Gives the file a name, whatever had it before; one of both is always there.
    public func publish(as name: String) throws(FileError) {
        guard unsafe rename(path, name) == 0 else {
            throw FileError(call: "rename", path: name, code: errno)
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

    private static func synchronize(_ descriptor: Int32, _ path: String) throws(FileError) {
        guard fsync(descriptor) == 0 else {
            throw FileError(call: "fsync", path: path, code: errno)
        }
    }
}
