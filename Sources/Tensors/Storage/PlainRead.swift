import Glibc
import Synchronization

extension Limits {
    /// Bytes that one `pread` asks for: they stay in a second-level cache.
    private static let pieceBytes = 512 << 10

    /// The seconds that a pool's threads take to read files from end to end and do nothing with
    /// them: what loading weights is compared with.
    ///
    /// - Throws: `FileError` in the system's own words.
    public static func plainRead(of paths: [String], pool: ThreadPool) throws(FileError) -> Double {
        let start = ContinuousClock.now
        for path in paths {
            let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw FileError(call: "open", path: path, code: errno) }
            defer { close(descriptor) }
            let next = Atomic(0)
            let failure = Atomic<Int32>(0)
            pool.run { _, _ in
                let code = readPieces(descriptor, claiming: next)
                if code != 0 { failure.store(code, ordering: .relaxed) }
            }
            let code = failure.load(ordering: .relaxed)
            guard code == 0 else { throw FileError(call: "pread", path: path, code: code) }
        }
        return (ContinuousClock.now - start) / .seconds(1)
    }

    /// Reads one piece after another until the file ends; returns the system's error number.
    private static func readPieces(_ descriptor: Int32, claiming next: borrowing Atomic<Int>)
        -> Int32
    {
        let piece = UnsafeMutableRawPointer.allocate(byteCount: pieceBytes, alignment: 4096)
        defer { unsafe piece.deallocate() }
        while true {
            let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
            let count = unsafe pread(descriptor, piece, pieceBytes, off_t(index * pieceBytes))
            if count < 0 { return errno }
            if count == 0 { return 0 }
        }
    }
}
