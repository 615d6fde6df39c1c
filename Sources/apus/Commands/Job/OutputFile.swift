import Cluster
import Encoding
import Foundation

/// The file that a command is told to write, looked at before the work that fills it.
///
/// A file is replaced at once, when it is whole. A device, a pipe, and a file whose folder takes no
/// other are written as they stand.
struct OutputFile {
    /// As it was said.
    private let name: String
    /// What is written, with links followed.
    private let target: URL
    /// Whether another file takes the place of what is there.
    private let isReplaced: Bool
    private let isRegular: Bool

    /// - Throws: `ClusterError.badInput` for a folder, and for what may not be written.
    init(_ name: String) throws(ClusterError) {
        self.name = name
        let files = FileManager.default
        func kind(_ path: String) -> FileAttributeType? {
            (try? files.attributesOfItem(atPath: path))?[.type] as? FileAttributeType
        }
        target = URL(filePath: name).resolvingSymlinksInPath()
        let path = target.path(percentEncoded: false)
        let found = kind(path)
        guard !name.isEmpty, !name.hasSuffix("/"), found != .typeDirectory else {
            throw .badInput("\(name.isEmpty ? "an empty name" : name) is a folder: name a file")
        }
        guard found != .typeSymbolicLink else {
            throw .badInput("\(name) \(FileFault(why: name))")
        }
        isRegular = found == nil || found == .typeRegular
        let folder = target.deletingLastPathComponent().path(percentEncoded: false)
        isReplaced = isRegular && files.isWritableFile(atPath: folder)
        guard isReplaced || found != nil && files.isWritableFile(atPath: path) else {
            throw .badInput(
                "\(name) cannot be written: the user of this process may not, or \(folder) is"
                    + " not there")
        }
    }

    /// - Throws: `ClusterError.badInput` with what the file system has against it.
    func write(_ bytes: Data) throws(ClusterError) {
        do {
            if isReplaced { return try bytes.write(to: target, options: .atomic) }
            let handle = try FileHandle(forWritingTo: target)
            defer { try? handle.close() }
            if isRegular { try handle.truncate(atOffset: 0) }
            try handle.write(contentsOf: bytes)
        } catch {
            throw .badInput("\(name) cannot be written: \(error.localizedDescription)")
        }
    }
}
