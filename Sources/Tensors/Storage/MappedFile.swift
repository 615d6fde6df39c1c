#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A file's bytes, mapped read-only, so that a checkpoint is read by touching it.
///
/// Pages arrive when they are first touched and stay in memory as long as the system likes. What is
/// needed once, such as a matrix that is packed, is better copied with `read`, which maps nothing.
@safe public final class MappedFile: Sendable {
    /// Where the file is.
    public let path: String
    /// The file's size when it was mapped.
    public let byteCount: Int
    private nonisolated(unsafe) let base: UnsafeRawPointer?
    private let descriptor: Int32

    /// Maps the whole file.
    ///
    /// - Throws: `FileError` in the system's own words.
    public init(path: String) throws(FileError) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(call: "open", path: path, code: errno) }
        do {
            let count = try Self.size(of: descriptor, path)
            unsafe base = try Self.map(descriptor, count, path)
            byteCount = count
        } catch {
            close(descriptor)
            throw error
        }
        self.path = path
        self.descriptor = descriptor
    }

    deinit {
        if let base = unsafe base {
            unsafe munmap(UnsafeMutableRawPointer(mutating: base), byteCount)
        }
        close(descriptor)
    }

    /// The size of a regular file.
    private static func size(of descriptor: Int32, _ path: String) throws(FileError) -> Int {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw FileError(call: "fstat", path: path, code: errno)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw FileError(call: "open", path: path, code: EINVAL)
        }
        return Int(status.st_size)
    }

    /// Nil for an empty file, which has nothing to map.
    private static func map(
        _ descriptor: Int32, _ byteCount: Int, _ path: String
    ) throws(FileError) -> UnsafeRawPointer? {
        if byteCount == 0 { return nil }
        guard
            let mapped = unsafe mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, descriptor, 0),
            unsafe mapped != MAP_FAILED
        else { throw FileError(call: "mmap", path: path, code: errno) }
        return UnsafeRawPointer(mapped)
    }

    /// Gives the bytes of a range, which must lie inside the file, to `body`.
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

    /// A copy of the bytes of a range, which must lie inside the file, through its pages.
    public func copyBytes(_ range: Range<Int>) -> [UInt8] {
        withBytes(range) { span in
            unsafe span.withUnsafeBytes { bytes in unsafe Array(bytes) }
        }
    }

    /// The same without touching a page: what was read once leaves nothing in this process.
    ///
    /// - Throws: `FileError`, with ENODATA if the file has become shorter since it was mapped.
    public func readBytes(_ range: Range<Int>) throws(FileError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: range.count)
        let failure = unsafe bytes.withUnsafeMutableBytes { target -> FileError? in
            guard let base = target.baseAddress else { return nil }
            do throws(FileError) { try unsafe read(range, to: base) } catch { return error }
            return nil
        }
        if let failure { throw failure }
        return bytes
    }

    /// The same into the caller's memory.
    func read(_ range: Range<Int>, to target: UnsafeMutableRawPointer) throws(FileError) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= byteCount,
            "\(path): bytes \(range) are outside the file's \(byteCount)")
        let code = unsafe Self.readAll(
            descriptor, to: target, count: range.count, at: range.lowerBound)
        guard code == 0 else { throw FileError(call: "pread", path: path, code: code) }
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

    /// Reads exactly `count` bytes of a file; the system's error number, 0 when all came.
    static func readAll(
        _ descriptor: Int32, to target: UnsafeMutableRawPointer, count: Int, at offset: Int
    ) -> Int32 {
        var done = 0
        while done < count {
            let part = unsafe pread(descriptor, target + done, count - done, off_t(offset + done))
            if part < 0 && errno == EINTR { continue }
            guard part > 0 else { return part < 0 ? errno : ENODATA }
            done += part
        }
        return 0
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
