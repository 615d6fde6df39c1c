import Foundation
public import Tensors

/// The files of a checkpoint's folder that may be given to other machines, opened once.
///
/// 1. Only files that lie in the folder, or that links in it lead to, when this is made; no name is
///    looked up later.
public struct SharedFolder: Sendable {
    /// The files with their sizes, in order of their names.
    public let files: [RemoteFile]
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
