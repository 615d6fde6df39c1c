import Glibc
import Synchronization

extension Limits {
    /// Bytes that one `pread` asks for: they stay in a second-level cache.
    private static let pieceBytes = 512 << 10

    /// Where a plain read puts what it reads.
    public enum ReadTarget: Sendable {
        /// One piece of each thread, over and over: nothing is kept, nothing reaches memory.
        case oneBuffer
        /// Fresh memory in huge pages that holds all of it, as any loader that copies must.
        case freshMemory
    }

    /// The seconds that a pool's threads take to read files from end to end and do nothing with
    /// them: what loading weights is compared with.
    ///
    /// - Throws: `FileError` in the system's own words.
    public static func plainRead(
        of paths: [String], into target: ReadTarget = .oneBuffer, pool: ThreadPool
    ) throws(FileError) -> Double {
        var kept: [OwnedMemory] = []
        let start = ContinuousClock.now
        for path in paths {
            let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw FileError(call: "open", path: path, code: errno) }
            defer { close(descriptor) }
            let size = Int(lseek(descriptor, 0, SEEK_END))
            guard size >= 0 else { throw FileError(call: "lseek", path: path, code: errno) }
            let memory = target == .freshMemory ? OwnedMemory(byteCount: max(size, 1)) : nil
            if let memory { kept.append(memory) }
            let next = Atomic(0)
            let failure = Atomic<Int32>(0)
            pool.run { _, _ in
                let code = readPieces(descriptor, size, into: memory, claiming: next)
                if code != 0 { failure.store(code, ordering: .relaxed) }
            }
            let code = failure.load(ordering: .relaxed)
            guard code == 0 else { throw FileError(call: "pread", path: path, code: code) }
        }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        // Giving memory back is no part of reading.
        return withExtendedLifetime(kept) { seconds }
    }

    /// Reads one piece after another until the file ends; returns the system's error number.
    private static func readPieces(
        _ descriptor: Int32, _ size: Int, into memory: OwnedMemory?,
        claiming next: borrowing Atomic<Int>
    ) -> Int32 {
        let piece = UnsafeMutableRawPointer.allocate(byteCount: pieceBytes, alignment: 4096)
        defer { unsafe piece.deallocate() }
        while true {
            let first = next.wrappingAdd(1, ordering: .relaxed).oldValue * pieceBytes
            if first >= size { return 0 }
            let target = unsafe memory.map { unsafe $0.base + first } ?? piece
            let code = unsafe MappedFile.readAll(
                descriptor, to: target, count: min(pieceBytes, size - first), at: first)
            if code != 0 { return code }
        }
    }
}
