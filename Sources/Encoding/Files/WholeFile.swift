public import Foundation

/// Files that are read at once.
public enum WholeFile {
    /// The bytes of a file.
    ///
    /// - Parameters:
    ///   - path: A file, a link to one, or a pipe that somebody closes.
    ///   - limit: Bytes that it may have; no more than these are held, whatever the path names.
    ///   - fault: Makes the error of the caller's room, which names the path.
    public static func read<Fault: Error>(
        _ path: String, limit: Int, orThrow fault: (FileFault) -> Fault
    ) throws(Fault) -> Data {
        var bytes = Data()
        do {
            let handle = try FileHandle(forReadingFrom: URL(filePath: path))
            defer { try? handle.close() }
            while let piece = try handle.read(upToCount: min(pieceBytes, limit + 1 - bytes.count)),
                !piece.isEmpty
            {
                bytes += piece
                guard bytes.count <= limit else { break }
            }
        } catch { throw fault(FileFault(why: path)) }
        guard bytes.count <= limit else {
            throw fault(FileFault("has more than \(limit) bytes, the limit of such a file"))
        }
        return bytes
    }

    private static let pieceBytes = 1 << 20
}

/// Why a file cannot be read, without its name.
public struct FileFault: Equatable, Sendable, CustomStringConvertible {
    /// A fact that goes on from the name of the file.
    public let description: String

    init(_ description: String) { self.description = description }

    /// Finds out why a path could not be opened or read.
    public init(why path: String) {
        let files = FileManager.default
        let place = URL(filePath: path).resolvingSymlinksInPath().path
        let kind = (try? files.attributesOfItem(atPath: place))?[.type] as? FileAttributeType
        if !files.fileExists(atPath: path) {
            description = Self.absence(of: path)
        } else if kind == .typeDirectory {
            description = "is a folder, where a file is expected"
        } else if !files.isReadableFile(atPath: path) {
            description = "may not be read by the user of this process"
        } else {
            description = "cannot be read"
        }
    }

    /// Why nothing was found at a path.
    private static func absence(of path: String) -> String {
        do {
            _ = try FileManager.default.attributesOfItem(atPath: path)
            return "is a link to a file that is not there"
        } catch let error as CocoaError where error.code == .fileReadNoPermission {
            return "is in a folder that the user of this process may not search"
        } catch { return "there is no such file" }
    }
}
