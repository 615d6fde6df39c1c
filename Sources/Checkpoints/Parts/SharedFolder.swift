import Encoding
import Foundation
public import Tensors

/// The files of a checkpoint's folder that may be given to other machines, opened once.
///
/// 1. Only files that lie in the folder, or that links in it lead to, when this is made; no name is
///    looked up later.
public struct SharedFolder: Sendable {
    /// The files with their sizes, in order of their names.
    public let files: [RemoteFile]
    /// A digest of names, sizes, small files, and of shards their headers and some samples: folders
    /// with another one hold other models.
    public let content: String
    private let opened: [String: MappedFile]

    /// Opens the files of a folder that holds all of its checkpoint.
    ///
    /// - Throws: `CheckpointError` for one that holds a part, or no weights.
    public init(directory: String) throws {
        try Checkpoint(directory: directory).requireWhole()
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
        } catch {
            throw CheckpointError.file(directory, fact: "cannot be listed")
        }
        var files: [RemoteFile] = []
        var opened: [String: MappedFile] = [:]
        for name in names where Self.isGiven(name) {
            // Folders and what may not be read are left out: a receiver misses them by name.
            guard let file = try? MappedFile(path: directory + "/" + name) else { continue }
            files.append(RemoteFile(name: name, byteCount: file.byteCount))
            opened[name] = file
        }
        self.files = files
        self.opened = opened
        var facts = ""
        for file in files {
            guard let mapped = opened[file.name] else { continue }
            let sample = try Self.sample(mapped, of: file)
            facts += "\(file.name) \(file.byteCount) \(Digest(of: sample).text)\n"
        }
        content = Digest(of: Array(facts.utf8)).text
    }

    /// Files up to this size are read whole.
    private static let wholeLimit = 1 << 20
    private static let sampleCount = 8
    private static let sampleBytes = 64 << 10

    /// What stands for the bytes of a file: a shard of many GB is not read for it.
    private static func sample(
        _ mapped: MappedFile, of file: RemoteFile
    ) throws(FileError) -> [UInt8] {
        let size = file.byteCount
        let isSampled = file.isShard ? size > wholeLimit : size > WeightCache.smallFileLimit
        guard isSampled else { return try mapped.readBytes(0 ..< size) }
        // A shard without a header is none of the checkpoint's.
        let length =
            !file.isShard
            ? nil
            : try? SafetensorsHeader.length(
                prefix: mapped.readBytes(0 ..< 8), fileBytes: size, file: file.name)
        var bytes = try mapped.readBytes(0 ..< (length.map { 8 + $0 } ?? 0))
        for number in 0 ..< sampleCount {
            let start = (size - sampleBytes) / (sampleCount - 1) * number
            bytes += try mapped.readBytes(start ..< start + sampleBytes)
        }
        return bytes
    }

    /// Weights, and the small files that programs read beside them.
    private static func isGiven(_ name: String) -> Bool {
        let ends = [".json", ".safetensors", ".model", ".txt", ".jinja"]
        return !name.hasPrefix(".") && ends.contains { name.hasSuffix($0) }
    }

    /// Reads bytes of one of the files, which must lie inside it.
    public func read(_ name: String, _ bytes: Range<Int>) throws(FileError) -> [UInt8] {
        guard let file = opened[name] else { preconditionFailure("\(name) is none of the files") }
        return try file.readBytes(bytes)
    }
}
