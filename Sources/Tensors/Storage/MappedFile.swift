#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A file's bytes, mapped read-only, so that a checkpoint is read by touching it.
///
/// Pages arrive when they are first read and can be given back with `release`, which is what keeps
/// one resident copy of the weights: a matrix is packed from its bytes, then the bytes go.
@safe public final class MappedFile: Sendable {
    /// Where the file is.
    public let path: String
    /// The file's size when it was mapped.
    public let byteCount: Int
    private nonisolated(unsafe) let base: UnsafeRawPointer?

    /// Maps the whole file.
    ///
    /// - Throws: `FileError` in the system's own words.
    public init(path: String) throws(FileError) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(call: "open", path: path, code: errno) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw FileError(call: "fstat", path: path, code: errno)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw FileError(call: "open", path: path, code: EINVAL)
        }
        self.path = path
        byteCount = Int(status.st_size)
        if byteCount == 0 {
            unsafe base = nil
            return
        }
        guard
            let mapped = unsafe mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, descriptor, 0),
            unsafe mapped != MAP_FAILED
        else { throw FileError(call: "mmap", path: path, code: errno) }
        unsafe base = UnsafeRawPointer(mapped)
    }

    deinit {
        if let base = unsafe base {
            unsafe munmap(UnsafeMutableRawPointer(mutating: base), byteCount)
        }
    }

    /// Lends the bytes of a range, which must lie inside the file.
    public func withBytes<Result>(
        _ range: Range<Int>, _ body: (RawSpan) throws -> Result
    ) rethrows -> Result {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= byteCount,
            "\(path): bytes \(range) are outside the file's \(byteCount)")
        guard let base = unsafe base else { return try body(RawSpan()) }
        return try body(
            unsafe RawSpan(_unsafeStart: base + range.lowerBound, byteCount: range.count))
    }

    /// A copy of the bytes of a range, which must lie inside the file.
    public func copyBytes(_ range: Range<Int>) -> [UInt8] {
        withBytes(range) { span in
            unsafe span.withUnsafeBytes { bytes in unsafe Array(bytes) }
        }
    }

    /// Gives the memory of a range back; reading it again reads the file again.
    public func release(_ range: Range<Int>) {
        guard let base = unsafe base, !range.isEmpty else { return }
        // Only pages that lie wholly inside: the others hold a neighbour's bytes too.
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let first = (range.lowerBound + page - 1) / page
        let end = range.upperBound / page
        guard end > first else { return }
        let start = unsafe UnsafeMutableRawPointer(mutating: base + first * page)
        _ = unsafe madvise(start, (end - first) * page, MADV_DONTNEED)
    }
}

/// A call on a file that the system refused.
public struct FileError: Error, CustomStringConvertible {
    /// The system call.
    public let call: String
    /// The file.
    public let path: String
    /// The system's error number.
    public let code: Int32

    /// The system's own words.
    public var reason: String { unsafe String(cString: strerror(code)) }

    /// `model.safetensors: open: No such file or directory`.
    public var description: String { "\(path): \(call): \(reason)" }
}
