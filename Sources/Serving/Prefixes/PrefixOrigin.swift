import Encoding
import Foundation
import Tensors
import Topology

/// What computed the entries of a cache: entries of unlike origins are never mixed in one text,
/// because its bits could then depend on what was computed before.
enum PrefixOrigin {
    /// The digest of the program, the instructions it uses, how it computes and stores, and the
    /// model's files.
    ///
    /// Weights are not read whole: their sizes, times of change, headers, and pieces spread evenly
    /// over each file are.
    ///
    /// - Throws: What is wrong with a file of the folder.
    static func digest(
        directory: String, compute: Compute, format: EntryFormat, blockTokens: Int,
        program: String = "/proc/self/exe"
    ) throws -> Digest {
        let facts = [
            ApusVersion.current, Processor.inUse.rawValue, KernelChoice.bitsInUse,
            compute.rawValue, format.rawValue, "\(blockTokens)",
        ]
        var bytes = Array(facts.joined(separator: "\n").utf8)
        bytes += try pieces(of: URL(filePath: program).resolvingSymlinksInPath())
        let folder = URL(filePath: directory)
        let names = try FileManager.default.contentsOfDirectory(atPath: directory)
            .filter { $0.hasSuffix(".json") || $0.hasSuffix(".safetensors") }
        for name in names.sorted() {
            bytes += Array("\n\(name)\n".utf8)
            bytes += try pieces(of: folder.appending(path: name).resolvingSymlinksInPath())
        }
        return Digest(of: bytes)
    }

    /// Bytes at the beginning of a file that are read: a header of some 8000 tensors.
    private static let headBytes = 1 << 20
    /// Pieces of the rest, and bytes of each.
    private static let (pieceCount, pieceBytes) = (64, 4096)

    /// The digest of a file's size, time of change, beginning, and pieces.
    private static func pieces(of file: URL) throws -> [UInt8] {
        let path = file.path(percentEncoded: false)
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        let changed = (attributes[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
        let handle = try FileHandle(forReadingFrom: file)
        defer { try? handle.close() }
        let size = try handle.seekToEnd()
        var bytes = Array("\(size) \(changed)\n".utf8)
        try handle.seek(toOffset: 0)
        bytes += try handle.read(upToCount: headBytes) ?? Data()
        if size > UInt64(headBytes) {
            for piece in 0 ..< pieceCount {
                try handle.seek(toOffset: size / UInt64(pieceCount) * UInt64(piece))
                bytes += try handle.read(upToCount: pieceBytes) ?? Data()
            }
        }
        return Digest(of: bytes).bytes
    }
}
