import Encoding
import Foundation
import Synchronization
import Tensors

/// A folder of checkpoints of which parts were received, one folder each, with a limit of bytes.
///
/// What is used the least recently goes first, whole models at a time. A model that a process uses
/// stays: each process holds the lock of a file of its own in the folder, until it ends.
public final class WeightCache: Sendable {
    /// Marks a folder as this cache's: only such are removed, and its time is that of the last use.
    private static let usedName = ".apus-used"
    private static let usePrefix = ".apus-use-"
    /// Of models that are being removed.
    private static let gonePrefix = ".apus-gone-"
    /// Small files of a checkpoint: the index is the largest.
    static let smallFileLimit = CheckpointIndex.byteLimit

    private let folder: String
    private let byteLimit: Int
    private let waitLimit: Duration
    /// Locks of the models that this process uses.
    private let uses = Mutex<[FileLock]>([])

    /// A cache in a folder, which is made if it is not there.
    ///
    /// - Parameters:
    ///   - byteLimit: Bytes on the disk that all models may have together.
    ///   - waitLimit: How long another process may take to make a model's folder.
    /// - Throws: `CheckpointError.file` where the folder cannot be made.
    public init(folder: String, byteLimit: Int, waitLimit: Duration) throws {
        self.folder = folder
        self.byteLimit = byteLimit
        self.waitLimit = waitLimit
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw CheckpointError.file(
                folder,
                fact: "cannot be created: \(error.localizedDescription); weightFolder names another"
            )
        }
    }

    /// Opens the folder of a model: its small files whole, its shards with their headers and holes.
    ///
    /// Made aside and renamed, so that it is there whole or not at all; later calls find it.
    ///
    /// - Parameters:
    ///   - name: Of the model, for people.
    ///   - files: All files of the model's folder.
    ///   - content: What tells it from models with equal files: `SharedFolder.content`.
    /// - Returns: The folder, which no cache removes while this process lives.
    public func open(
        _ name: String, files: [RemoteFile], content: String, from source: any PieceSource
    ) throws -> String {
        let lock = try lock()
        defer { withExtendedLifetime(lock) {} }
        let listed = files.sorted { $0.name < $1.name }.map { "\($0.name) \($0.byteCount)\n" }
        let mark = Digest(of: Array((listed.joined() + content).utf8)).text.prefix(16)
        let directory = "\(folder)/\(name.filter { $0 != "/" && $0 != "\0" })-\(mark)"
        if !FileManager.default.fileExists(atPath: directory + "/config.json") {
            // What a removal left that was cut short.
            try? FileManager.default.removeItem(atPath: directory)
            try make(directory, files, from: source)
        }
        do {
            removeEndedUses(of: directory)
            // Processes of two containers may have the same number.
            let lock = try FileLock(path: "\(directory)/\(Self.usePrefix)\(UUID().uuidString)")
            uses.withLock { $0.append(lock) }
            try FileManager.default.setAttributes(
                [.modificationDate: Date()], ofItemAtPath: directory + "/" + Self.usedName)
        } catch {
            throw CheckpointError.file(directory, fact: "cannot be used: \(error)")
        }
        return directory
    }

    /// Removes the marks of processes that have ended.
    private func removeEndedUses(of directory: String) {
        let files = FileManager.default
        let names = (try? files.contentsOfDirectory(atPath: directory)) ?? []
        for name in names where name.hasPrefix(Self.usePrefix) {
            let path = directory + "/" + name
            guard let lock = try? FileLock(path: path) else { continue }
            try? files.removeItem(atPath: path)
            withExtendedLifetime(lock) {}
        }
    }

    private func make(
        _ directory: String, _ files: [RemoteFile], from source: any PieceSource
    ) throws {
        guard files.contains(where: { $0.name == "config.json" }) else {
            throw CheckpointError.file(
                directory, fact: "the source's folder holds no config.json: no model")
        }
        let small = files.filter { !$0.isShard }
        if let large = small.first(where: { $0.byteCount > Self.smallFileLimit }) {
            throw CheckpointError.file(
                large.name.printable(),
                fact: "\(large.byteCount) bytes beside the shards; a small file has at most "
                    + "\(Self.smallFileLimit)")
        }
        try clear(small.reduce(0) { $0 + $1.byteCount }, keeping: directory)
        let writer = try CheckpointWriter(directory: directory)
        do {
            for file in small {
                let bytes = try source.bytes(0 ..< file.byteCount, of: file)
                try writer.write(bytes, to: file.name)
            }
            for file in files where file.isShard {
                let head = try Self.head(of: file, from: source)
                try writer.write(head, to: file.name, stretchedTo: file.byteCount)
            }
            try writer.write([], to: ArrivalRecord.name)
            try writer.write([], to: Self.usedName)
            try writer.commit()
        } catch { throw writer.abandon(after: error) }
    }

    /// The header of a shard, and the length before it.
    private static func head(
        of file: RemoteFile, from source: any PieceSource
    ) throws -> [UInt8] {
        let first = try source.bytes(0 ..< min(file.byteCount, 1 << 16), of: file)
        let length = try SafetensorsHeader.length(
            prefix: Array(first.prefix(8)), fileBytes: file.byteCount, file: file.name.printable())
        guard first.count < 8 + length else { return Array(first.prefix(8 + length)) }
        return first + (try source.bytes(first.count ..< 8 + length, of: file))
    }

    /// Makes room for bytes of a model that are about to come.
    ///
    /// - Parameter directory: Of the model, which stays.
    /// - Throws: `CheckpointError.file` with what the disk has or the cache holds, and what is
    ///   needed.
    public func makeRoom(for byteCount: Int, keeping directory: String) throws {
        // Little pieces come in their thousands; reading the disk for each would be slow.
        let isDue = unchecked.withLock { unchecked in
            unchecked += byteCount
            guard unchecked >= Self.checkBytes else { return false }
            unchecked = 0
            return true
        }
        guard isDue else { return }
        let lock = try lock()
        defer { withExtendedLifetime(lock) {} }
        try clear(byteCount, keeping: directory)
    }

    /// Nobody else makes, marks or removes a model meanwhile.
    private func lock() throws -> FileLock {
        try FileLock.waiting(folder + "/.apus-cache.lock", limit: waitLimit)
    }

    private func clear(_ byteCount: Int, keeping directory: String) throws {
        removeGone()
        var models = held()
        var used = models.reduce(0) { $0 + $1.byteCount }
        func excess() -> Int { max(used + byteCount - byteLimit, byteCount - freeBytes()) }
        models.sort { $0.lastUsed < $1.lastUsed }
        for model in models where excess() > 0 && model.path != directory {
            guard remove(model.path) else { continue }
            used -= model.byteCount
        }
        guard used + byteCount <= byteLimit else {
            throw CheckpointError.file(
                folder,
                fact: "models in use hold \(used) bytes and this one needs \(byteCount) more; the "
                    + "limit is \(byteLimit) (weightBytes)")
        }
        let free = freeBytes()
        guard byteCount <= free else {
            throw CheckpointError.file(
                folder,
                fact: "\(byteCount) bytes are to come, and its disk has \(free) free: make room, "
                    + "or name another folder (weightFolder)")
        }
    }

    private static let checkBytes = 64 << 20
    /// Bytes that came since the limits were checked; the first ones are checked at once.
    private let unchecked = Mutex(checkBytes)

    private func freeBytes() -> Int {
        let space = try? FileManager.default.attributesOfFileSystem(forPath: folder)
        // A file system that does not say how full it is says so when it is written.
        return (space?[.systemFreeSize] as? NSNumber)?.intValue ?? .max
    }

    /// The models of the cache, with the room they take on the disk.
    private func held() -> [(path: String, byteCount: Int, lastUsed: Date)] {
        let files = FileManager.default
        let names = (try? files.contentsOfDirectory(atPath: folder)) ?? []
        return names.compactMap { name in
            let path = folder + "/" + name
            guard ArrivalRecord.isIn(path),
                let used = try? files.attributesOfItem(atPath: path + "/" + Self.usedName),
                let inside = try? files.contentsOfDirectory(
                    at: URL(filePath: path), includingPropertiesForKeys: [.fileSizeKey])
            else { return nil }
            // Holes take no room: of shards what arrived counts.
            var record = ArrivalRecord(in: path)
            try? record.update()
            let small = inside.filter { $0.pathExtension != "safetensors" }
            let bytes = small.reduce(record.byteCount) { sum, file in
                sum + ((try? file.resourceValues(forKeys: [.fileSizeKey]))?.fileSize ?? 0)
            }
            return (path, bytes, used[.modificationDate] as? Date ?? .distantPast)
        }
    }

    /// Removes a model that nobody uses.
    private func remove(_ directory: String) -> Bool {
        let files = FileManager.default
        let names = (try? files.contentsOfDirectory(atPath: directory)) ?? []
        for name in names where name.hasPrefix(Self.usePrefix) {
            guard (try? FileLock(path: directory + "/" + name)) != nil else { return false }
        }
        // Renamed first: what a kill leaves is no model, and goes the next time.
        let gone = "\(folder)/\(Self.gonePrefix)\(UUID().uuidString)"
        guard (try? files.moveItem(atPath: directory, toPath: gone)) != nil else { return false }
        return (try? files.removeItem(atPath: gone)) != nil
    }

    /// Removes what a kill left of removals.
    private func removeGone() {
        let files = FileManager.default
        let names = (try? files.contentsOfDirectory(atPath: folder)) ?? []
        for name in names where name.hasPrefix(Self.gonePrefix) {
            try? files.removeItem(atPath: folder + "/" + name)
        }
    }
}

extension RemoteFile {
    /// Whether it holds weights.
    var isShard: Bool { name.hasSuffix(".safetensors") }
}

extension PieceSource {
    /// Bytes of a file, in pieces.
    fileprivate func bytes(_ range: Range<Int>, of file: RemoteFile) throws -> [UInt8] {
        let size = CheckpointPiece.mostBytes
        let pieces = stride(from: range.lowerBound, to: range.upperBound, by: size).map {
            CheckpointPiece(file: file.name, bytes: $0 ..< min($0 + size, range.upperBound))
        }
        let found = Mutex<[Int: [UInt8]]>([:])
        try receive(pieces) { piece, bytes, _ in
            found.withLock { $0[piece.bytes.lowerBound] = bytes ?? [] }
        }
        return found.withLock { found in pieces.flatMap { found[$0.bytes.lowerBound] ?? [] } }
    }
}
