import Cluster
import Foundation
import Glibc
import Tensors

/// The file that a command is told to write, checked before the work that fills it.
///
/// A file is replaced at once, when it is whole. A device, a pipe, and a file whose folder takes no
/// other are written as they stand.
struct OutputFile {
    private enum Place {
        /// Another file takes the place of what is there.
        case replaced(URL)
        /// A file whose folder takes no other.
        case rewritten(URL)
        /// A device or a pipe: open, so that its reader waits for what comes.
        case open(FileHandle)
    }

    /// As it was said.
    private let name: String
    private let place: Place

    /// Whether `write` may wait for whoever reads.
    var hasReader: Bool { if case .open = place { true } else { false } }

    /// - Throws: `ClusterError.badInput` for a folder, and for what may not be written.
    init(_ name: String) throws(ClusterError) {
        self.name = name
        let found = WritableFile.kind(of: name)
        let (isThere, kind) = (found != nil, found ?? S_IFREG)
        guard !name.isEmpty, !name.hasSuffix("/"), kind != S_IFDIR else {
            throw .badInput("\(name.isEmpty ? "an empty name" : name) is a folder: name a file")
        }
        // Its file goes on where it is, as the shell opened it.
        if isThere, let descriptor = Self.descriptor(of: name) {
            place = .open(FileHandle(fileDescriptor: descriptor, closeOnDealloc: false))
            return
        }
        guard kind == S_IFREG else {
            guard kind != S_IFSOCK else {
                throw .badInput("\(name) cannot be written: it is a socket: name a file or a pipe")
            }
            place = .open(try Self.opened(name))
            return
        }
        let files = FileManager.default
        let target = URL(filePath: name).resolvingSymlinksInPath()
        let path = target.path(percentEncoded: false)
        let folder = target.deletingLastPathComponent().path(percentEncoded: false)
        let type = (try? files.attributesOfItem(atPath: path))?[.type] as? FileAttributeType
        guard type != .typeSymbolicLink else {
            throw .badInput(
                "\(name) cannot be written: it is a link to a file that is not there: name that"
                    + " file")
        }
        if files.isWritableFile(atPath: folder), isThere == (type != nil) {
            place = .replaced(target)
        } else if isThere, files.isWritableFile(atPath: name) {
            place = .rewritten(URL(filePath: name))
        } else {
            throw .badInput(
                "\(name) cannot be written: the user of this process may not, or \(folder) is"
                    + " not there: name a file in a folder that takes files")
        }
    }

    /// What this process has open already by a name of the system's.
    private static func descriptor(of name: String) -> Int32? {
        switch name {
        case "/dev/stdout": return STDOUT_FILENO
        case "/dev/stderr": return STDERR_FILENO
        default:
            let folder = ["/dev/fd/", "/proc/self/fd/"].first(where: name.hasPrefix)
            return folder.flatMap { Int32(name.dropFirst($0.count)) }
        }
    }

    /// Opens what is no file. A pipe without a reader is refused, where opening it would wait for
    /// one.
    private static func opened(_ name: String) throws(ClusterError) -> FileHandle {
        do throws(FileError) {
            return FileHandle(
                fileDescriptor: try WritableFile.open(name), closeOnDealloc: true)
        } catch {
            let fact =
                error.code == ENXIO
                ? "nobody reads it: start its reader first" : "\(error): name another file"
            throw .badInput("\(name) cannot be written: \(fact)")
        }
    }

    /// - Throws: `ClusterError.badInput` with what the file system has against it.
    func write(_ bytes: Data) throws(ClusterError) {
        do {
            switch place {
            case .replaced(let target): try bytes.write(to: target, options: .atomic)
            case .rewritten(let target):
                let handle = try FileHandle(forWritingTo: target)
                defer { try? handle.close() }
                try handle.truncate(atOffset: 0)
                try handle.write(contentsOf: bytes)
            case .open(let handle): try handle.write(contentsOf: bytes)
            }
        } catch {
            throw .badInput("\(name) cannot be written: \(error.localizedDescription)")
        }
    }
}
