import Encoding
import Foundation
import Glibc
import Synchronization
public import Tensors

/// A file of a checkpoint to be written.
public struct OutputShard: Sendable {
    /// Its name.
    public let file: String
    /// What it holds.
    public let tensors: [OutputTensor]

    /// A file of this name.
    public init(file: String, tensors: [OutputTensor]) {
        self.file = file
        self.tensors = tensors
    }
}

/// Writes a checkpoint folder in strips of rows, all threads at once, never holding more than a
/// strip per thread.
///
/// The folder appears under its name when it is complete and on disk: until then it has `.partial`
/// at the end of its name, and a failure leaves nothing.
///
/// 1. Only a partial folder that holds our mark is ever emptied or removed. An empty one without a
///    mark is taken: a writer that ended between making the folder and its mark left it.
/// 2. The mark is locked for as long as the folder is written, and no other writer takes it then.
public final class CheckpointWriter {
    /// A part of a tensor's bytes.
    public struct Piece {
        var name: String
        var offset: Int
        var bytes: [UInt8]

        /// These bytes of the tensor `name`, at `offset`.
        public init(name: String, offset: Int, bytes: [UInt8]) {
            self.name = name
            self.offset = offset
            self.bytes = bytes
        }
    }

    /// Values of a strip: 16 MB in Float32, large enough to amortise a write.
    private static let stripElements = 4 << 20
    /// Bytes that are copied at once, as many as a strip has.
    private static let copyBytes = 16 << 20

    /// The file that says that a partial folder is a writer's; locked while it is written.
    private static let markName = ".apus-partial"

    private let directory: String
    private let partial: String
    private let mark: FileLock
    private var isInPlace = false

    /// - Throws: `CheckpointError.file` if something other than an empty folder is in the way, or
    ///   if the partial folder is not one that an ended writer left.
    public init(directory: String) throws {
        // With a slash at the end, the partial folder would lie inside the one it is to become.
        var directory = directory
        while directory.count > 1, directory.hasSuffix("/") { directory.removeLast() }
        self.directory = directory
        partial = directory + ".partial"
        let files = FileManager.default
        if files.fileExists(atPath: directory) {
            guard Self.isEmpty(directory) else {
                throw CheckpointError.file(directory, fact: "exists and is not an empty folder")
            }
        }
        mark = try Self.take(partial)
    }

    /// Makes the partial folder, or empties the one that an ended writer left, and locks its mark.
    private static func take(_ partial: String) throws(CheckpointError) -> FileLock {
        let files = FileManager.default
        let path = partial + "/" + markName
        let isNew = !files.fileExists(atPath: partial)
        guard isNew || files.fileExists(atPath: path) || isEmpty(partial) else {
            throw .file(
                partial,
                fact: "exists and is not what an earlier attempt left (it holds no \(markName)): "
                    + "rename it, remove it, or choose another target")
        }
        do {
            try files.createDirectory(atPath: partial, withIntermediateDirectories: true)
        } catch {
            throw .file(partial, fact: "cannot be created")
        }
        let mark: FileLock
        do { mark = try FileLock(path: path) } catch {
            if isNew { removeIfEmpty(partial) }
            guard error.code == EWOULDBLOCK else {
                throw .file(path, fact: "cannot be locked: \(error.call): \(error.reason)")
            }
            throw .file(
                partial,
                fact: "is being written by another program: wait for it, end it, or choose another "
                    + "target")
        }
        do { try empty(partial) } catch {
            throw .file(partial, fact: "is what an earlier attempt left and cannot be emptied")
        }
        return mark
    }

    private static func isEmpty(_ folder: String) -> Bool {
        (try? FileManager.default.contentsOfDirectory(atPath: folder))?.isEmpty == true
    }

    private static func removeIfEmpty(_ folder: String) {
        do { try FileSink.remove(emptyFolder: folder) } catch {
            // Another writer's mark may be in it. An empty folder that stays is the next writer's.
        }
    }

    /// Removes what was written, because of an error.
    ///
    /// - Returns: The error, with the reason why the partial folder stays, if it does.
    public func abandon(after error: any Error) -> any Error {
        let files = FileManager.default
        guard !isInPlace, files.fileExists(atPath: partial) else { return error }
        do {
            try Self.empty(partial)
            // The mark last: until then it says whose the folder is.
            try files.removeItem(atPath: partial + "/" + Self.markName)
        } catch let other {
            return CheckpointError.file(
                partial, fact: "stays, because it cannot be removed (\(other)), after: \(error)")
        }
        Self.removeIfEmpty(partial)
        return error
    }

    /// Removes everything but the mark.
    private static func empty(_ partial: String) throws {
        let files = FileManager.default
        for file in try files.contentsOfDirectory(atPath: partial) where file != markName {
            try files.removeItem(atPath: partial + "/" + file)
        }
    }

    /// Puts the folder under its name, and waits until the disk has both.
    public func commit() throws {
        let files = FileManager.default
        do {
            // Empty when this began; what came since stays, and is the error.
            if files.fileExists(atPath: directory) {
                guard try files.contentsOfDirectory(atPath: directory).isEmpty else {
                    throw CheckpointError.file(directory, fact: "is not an empty folder any more")
                }
                try files.removeItem(atPath: directory)
            }
            try FileSink.synchronize(folder: partial)
            try files.moveItem(atPath: partial, toPath: directory)
            isInPlace = true
            // Not before the move: another writer could make the mark anew, and empty the folder.
            try files.removeItem(atPath: directory + "/" + Self.markName)
            let parent = NSString(string: directory).deletingLastPathComponent
            try FileSink.synchronize(folder: parent.isEmpty ? "." : parent)
        } catch {
            throw CheckpointError.file(
                directory,
                fact: isInPlace
                    ? "is complete and in place, but its folder cannot be tidied and put on the "
                        + "disk: \(error)"
                    : "cannot be put in place: \(error)")
        }
    }

    /// Writes a small file.
    public func write(_ text: String, to file: String) throws {
        try write(Array(text.utf8), to: file)
    }

    /// Writes bytes at the front of a file.
    ///
    /// - Parameter size: What the file is stretched to, with a hole behind the bytes.
    func write(_ bytes: [UInt8], to file: String, stretchedTo size: Int? = nil) throws {
        let path = partial + "/" + file
        do {
            let sink = try FileSink(path: path)
            try sink.append(bytes)
            if let size { try sink.stretch(to: size) }
            try sink.synchronize()
        } catch {
            throw CheckpointError.file(
                path, fact: "cannot be written: \(error.call): \(error.reason)")
        }
    }

    /// Copies a file of another folder.
    public func copy(_ file: String, from source: String) throws {
        do {
            let original = try MappedFile(path: source + "/" + file)
            let sink = try FileSink(path: partial + "/" + file)
            var place = 0
            while place < original.byteCount {
                let range = place ..< min(place + Self.copyBytes, original.byteCount)
                try sink.append(original.readBytes(range))
                place = range.upperBound
            }
            try sink.synchronize()
        } catch {
            throw CheckpointError.file(
                file, fact: "cannot be copied to \(partial): \(error.call): \(error.reason)")
        }
    }

    /// Writes `model.safetensors.index.json`.
    public func writeIndex(_ shards: [OutputShard]) throws {
        var map: [(key: String, value: JSONValue)] = []
        var total = 0
        for shard in shards {
            for tensor in shard.tensors {
                map.append((tensor.name, .string(shard.file)))
                total += tensor.byteCount
            }
        }
        map.sort { $0.key < $1.key }
        let index = JSONValue.object([
            ("metadata", .object([("total_size", .number("\(total)"))])),
            ("weight_map", .object(map)),
        ])
        try write(index.encoded(indent: 2) + "\n", to: "model.safetensors.index.json")
    }

    /// Writes one shard after another.
    ///
    /// - Parameters:
    ///   - encode: The bytes that a range of rows of a tensor gives, of that tensor or also of
    ///     another one, such as its scales. Called from every thread.
    ///   - derived: Tensors whose bytes come with another's.
    public func writeShards(
        _ shards: [OutputShard], pool: ThreadPool, progress: ((LoadProgress) -> Void)?,
        derived: (OutputTensor) -> Bool,
        encode: (OutputTensor, Range<Int>) throws -> [Piece]
    ) throws {
        let total = shards.reduce(0) { $0 + $1.tensors.reduce(0) { $0 + $1.byteCount } }
        let start = ContinuousClock.now
        let written = Atomic(0)
        for shard in shards {
            let file = try SafetensorsWriter(
                path: partial + "/" + shard.file, tensors: shard.tensors)
            let strips = shard.tensors.filter { !derived($0) }.flatMap(Self.strips)
            let next = Atomic(0)
            let failure = Mutex<(any Error)?>(nil)
            pool.run { thread, _ in
                while failure.withLock({ $0 == nil }) {
                    let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                    guard index < strips.count else { return }
                    do {
                        for piece in try encode(strips[index].tensor, strips[index].rows) {
                            try file.write(
                                piece.bytes.span.raw, to: piece.name, at: piece.offset)
                            written.wrappingAdd(piece.bytes.count, ordering: .relaxed)
                        }
                    } catch { failure.withLock { $0 = $0 ?? error } }
                    guard thread == 0 else { continue }
                    progress?(
                        LoadProgress(
                            loadedBytes: written.load(ordering: .relaxed), totalBytes: total,
                            elapsed: .now - start))
                }
            }
            if let error = failure.withLock({ $0 }) { throw error }
            try file.finish(synchronizing: true)
        }
        progress?(LoadProgress(loadedBytes: total, totalBytes: total, elapsed: .now - start))
    }

    /// Cuts a tensor into ranges of rows; all but the last are whole blocks of 128, so that no
    /// scale spans two strips. Rows of more extents are matrices, of which a strip may have one.
    private static func strips(
        _ tensor: OutputTensor
    ) -> [(tensor: OutputTensor, rows: Range<Int>)] {
        guard tensor.elementCount > 0 else { return [] }
        let width = max(1, tensor.columns * tensor.numbersPerValue)
        let block = tensor.shape.count > 2 ? 1 : 128
        let step = max(1, stripElements / width / block) * block
        return stride(from: 0, to: tensor.rows, by: step).map {
            (tensor, $0 ..< min($0 + step, tensor.rows))
        }
    }
}
