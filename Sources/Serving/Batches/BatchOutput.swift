import Encoding
import Foundation
import Synchronization

/// A file of answers that grows by a line per request, and that a later server goes on with.
///
/// 1. A line is written at once and whole; one that was cut, because the process ended in the
///    middle of it, is taken away when the file is opened again, with its room.
/// 2. A line that is damaged stays, and tells nothing.
final class BatchOutput: Sendable {
    private struct State {
        var file: FileHandle?
        var bytes: Int
    }

    private let id: String
    private let owner: String
    private let folder: BatchFolder
    private let state: Mutex<State>
    /// The requests that had an answer when the file was opened.
    let answered: [String]
    /// Lines that were damaged when the file was opened.
    let damagedLines: Int

    private var path: String { folder.path(of: id) }

    /// - Parameter id: The file's.
    init(_ id: String, of owner: String, in folder: BatchFolder) throws {
        self.id = id
        self.owner = owner
        self.folder = folder
        let path = folder.path(of: id)
        guard FileManager.default.fileExists(atPath: path) else {
            (answered, damagedLines) = ([], 0)
            state = Mutex(State(file: nil, bytes: 0))
            return
        }
        var reader = try LineReader(path: path, limit: .max)
        var ids: [String] = []
        var damaged = 0
        while let line = try reader.next(), reader.hasLineEnd {
            if let id = BatchLine.id(ofResult: line) { ids.append(id) } else { damaged += 1 }
        }
        let whole = reader.wholeBytes
        let file = try FileHandle(forWritingTo: URL(filePath: path))
        let cut = Int(try file.seekToEnd()) - whole
        try file.truncate(atOffset: UInt64(whole))
        try file.seek(toOffset: UInt64(whole))
        try folder.reserve(-cut, of: owner)
        (answered, damagedLines) = (ids, damaged)
        state = Mutex(State(file: file, bytes: whole))
    }

    func append(_ value: JSONValue) throws {
        let line = Data((value.text + "\n").utf8)
        try folder.reserve(line.count, of: owner, isOutput: true)
        do { try write(line) } catch {
            try folder.reserve(-line.count, of: owner)
            throw error
        }
    }

    private func write(_ line: Data) throws {
        try state.withLock { state in
            if state.file == nil {
                guard
                    FileManager.default.createFile(
                        atPath: path, contents: nil, attributes: [.posixPermissions: 0o600])
                else {
                    throw CocoaError(.fileWriteUnknown, userInfo: [NSFilePathErrorKey: path])
                }
                state.file = try FileHandle(forWritingTo: URL(filePath: path))
            }
            do { try state.file?.write(contentsOf: line) } catch {
                // A part of the line may be there: the next opening takes it away.
                try state.file?.truncate(atOffset: UInt64(state.bytes))
                throw error
            }
            state.bytes += line.count
        }
    }

    /// Brings what was written to the disk.
    ///
    /// - Returns: Its bytes.
    func close() throws -> Int {
        try state.withLock { state in
            try state.file?.synchronize()
            try state.file?.close()
            state.file = nil
            return state.bytes
        }
    }
}
