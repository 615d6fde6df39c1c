import Cluster
import Foundation
import Glibc

/// The file that a command is told to write, looked at before the work that fills it.
///
/// A file is replaced at once, when it is whole. A device, a pipe, and a file whose folder takes no
/// other are written as they stand.
struct OutputFile {
    /// As it was said.
    private let name: String
    /// What a rename replaces, with links followed; nil where none may be.
    private let replaced: URL?

    /// - Throws: `ClusterError.badInput` for a folder, and for what may not be written.
    init(_ name: String) throws(ClusterError) {
        self.name = name
        var info = stat()
        let exists = unsafe stat(name, &info) == 0
        let kind = exists ? info.st_mode & S_IFMT : S_IFREG
        guard !name.isEmpty, !name.hasSuffix("/"), kind != S_IFDIR else {
            throw .badInput("\(name.isEmpty ? "an empty name" : name) is a folder: name a file")
        }
        // A link to nothing yet is written through as a device is.
        let isLink = unsafe !exists && lstat(name, &info) == 0
        let file = URL(filePath: name)
        let target = exists ? file.resolvingSymlinksInPath() : file
        let folder = target.deletingLastPathComponent().path(percentEncoded: false)
        let isReplaced = unsafe kind == S_IFREG && !isLink && access(folder, W_OK | X_OK) == 0
        replaced = isReplaced ? target : nil
        let isWritten = unsafe isReplaced || isLink || access(name, W_OK) == 0
        guard isWritten else {
            throw .badInput(
                "\(name) cannot be written: \(unsafe String(cString: strerror(errno)))")
        }
    }

    /// - Throws: `ClusterError.badInput` with what the file system has against it.
    func write(_ bytes: Data) throws(ClusterError) {
        do {
            if let replaced { return try bytes.write(to: replaced, options: .atomic) }
            let descriptor = unsafe open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else {
                throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
            }
            let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
            try handle.write(contentsOf: bytes)
        } catch {
            throw .badInput("\(name) cannot be written: \(error.localizedDescription)")
        }
    }
}
