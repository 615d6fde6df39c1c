import Encoding
import Foundation
import Tensors

/// Which pieces of a checkpoint have arrived in a folder, with their digests: a line of text each,
/// appended once the piece is written.
///
/// A line is the digest, the offset, the count of bytes and the file, as `sha256sum` would begin.
/// One that a kill cut short is left out, and its piece comes again.
struct ArrivalRecord {
    /// The file in the folder. A folder with it holds a part of a checkpoint.
    static let name = ".apus-part"
    /// The largest record that is read: pieces of tens of terabytes.
    static let byteLimit = 1 << 30

    /// Where a piece begins.
    struct Key: Hashable {
        let file: String
        let offset: Int
    }

    private let path: String
    /// Bytes of the file that were read.
    private var read = 0
    private var pieces: [Key: (count: Int, digest: Digest)] = [:]

    init(in directory: String) { path = directory + "/" + Self.name }

    /// Whether a folder has one.
    static func isIn(_ directory: String) -> Bool {
        FileManager.default.fileExists(atPath: directory + "/" + name)
    }

    /// Bytes that arrived.
    var byteCount: Int { pieces.values.reduce(0) { $0 + $1.count } }

    /// The digest of a piece that arrived.
    func digest(of piece: CheckpointPiece) -> Digest? {
        let found = pieces[Key(file: piece.file, offset: piece.bytes.lowerBound)]
        return found?.count == piece.bytes.count ? found?.digest : nil
    }

    /// Reads what was appended since the last time, by any process.
    mutating func update() throws {
        let handle = try FileHandle(forReadingFrom: URL(filePath: path))
        defer { try? handle.close() }
        try handle.seek(toOffset: UInt64(read))
        let new = try handle.read(upToCount: Self.byteLimit) ?? Data()
        // A line without its end is being written, or never will be.
        guard let last = new.lastIndex(of: UInt8(ascii: "\n")) else { return }
        let whole = new[...last]
        read += whole.count
        for line in whole.split(separator: UInt8(ascii: "\n")) {
            take(String(decoding: line, as: UTF8.self))
        }
    }

    private mutating func take(_ line: String) {
        let words = line.split(separator: " ", maxSplits: 3)
        guard words.count == 4, let digest = Digest(text: words[0]), let offset = Int(words[1]),
            let count = Int(words[2]), offset >= 0,
            (1 ... CheckpointPiece.mostBytes).contains(count)
        else { return }
        pieces[Key(file: String(words[3]), offset: offset)] = (count, digest)
    }

    /// The line of a piece, with an end before it too: a line that a kill cut short ends there.
    static func line(_ piece: CheckpointPiece, _ digest: Digest) -> [UInt8] {
        Array(
            "\n\(digest.text) \(piece.bytes.lowerBound) \(piece.bytes.count) \(piece.file)\n".utf8)
    }
}

extension Digest {
    /// Reads 64 hexadecimal digits.
    fileprivate init?(text: Substring) {
        var bytes: [UInt8] = []
        var high: Int?
        for letter in text {
            guard letter.isASCII, let digit = letter.hexDigitValue else { return nil }
            if let first = high {
                bytes.append(UInt8(first * 16 + digit))
                high = nil
            } else {
                high = digit
            }
        }
        guard high == nil else { return nil }
        self.init(bytes: bytes)
    }
}
