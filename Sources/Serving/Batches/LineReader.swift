import Foundation

/// Reads a file line by line, in bounded memory.
struct LineReader {
    /// A line that is longer than the limit.
    struct TooLong: Error {
        /// From 1.
        let line: Int
        let limit: Int
    }

    private static let pieceBytes = 1 << 16

    private let file: FileHandle
    private let limit: Int
    private var buffer: [UInt8] = []
    /// Where the next line begins, and up to where no end of it was found.
    private var start = 0
    private var searched = 0
    private var hasEnded = false
    /// The line that `next` returned last, from 1; empty ones count.
    private(set) var line = 0
    /// Whether that line has an end: the last one may have been cut.
    private(set) var hasLineEnd = false
    /// Bytes of the file up to the end of that line, if it has an end.
    private(set) var wholeBytes = 0

    /// - Parameter limit: Bytes of a line.
    init(path: String, limit: Int) throws {
        file = try FileHandle(forReadingFrom: URL(filePath: path))
        self.limit = limit
    }

    /// The next line that is not blank, without its end; nil after the last.
    mutating func next() throws -> [UInt8]? {
        while let bytes = try nextOrBlank() {
            if bytes.contains(where: { $0 != 0x20 && $0 != 0x09 }) { return bytes }
        }
        return nil
    }

    private mutating func nextOrBlank() throws -> [UInt8]? {
        while true {
            if let end = buffer[searched...].firstIndex(of: 0x0A) {
                return try take(upTo: end, next: end + 1)
            }
            searched = buffer.count
            guard searched - start <= limit else { throw TooLong(line: line + 1, limit: limit) }
            guard !hasEnded else {
                return start < buffer.count
                    ? try take(upTo: buffer.count, next: buffer.count) : nil
            }
            buffer.removeSubrange(..<start)
            (start, searched) = (0, searched - start)
            guard let piece = try file.read(upToCount: Self.pieceBytes), !piece.isEmpty else {
                hasEnded = true
                continue
            }
            buffer += piece
        }
    }

    private mutating func take(upTo end: Int, next: Int) throws -> [UInt8] {
        var bytes = buffer[start ..< end]
        if next > end { wholeBytes += next - start }
        hasLineEnd = next > end
        (start, searched) = (next, next)
        line += 1
        guard bytes.count <= limit else { throw TooLong(line: line, limit: limit) }
        if bytes.last == 0x0D { bytes.removeLast() }
        // Editors of some systems begin a file with this mark.
        if line == 1, bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
        return Array(bytes)
    }
}
