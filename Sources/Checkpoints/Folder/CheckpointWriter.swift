import Encoding
import Foundation
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
/// The folder appears under its name when it is complete: until then it has `.partial` at the end
/// of its name, and a failure leaves nothing.
public struct CheckpointWriter {
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

    private let directory: String
    private let partial: String

    /// - Throws: `CheckpointError.file` if something other than an empty folder is in the way.
    public init(directory: String) throws {
        // With a slash at the end, the partial folder would lie inside the one it is to become.
        var directory = directory
        while directory.count > 1, directory.hasSuffix("/") { directory.removeLast() }
        self.directory = directory
        partial = directory + ".partial"
        let files = FileManager.default
        if files.fileExists(atPath: directory) {
            let contents = try? files.contentsOfDirectory(atPath: directory)
            guard contents?.isEmpty == true else {
                throw CheckpointError.file(directory, fact: "exists and is not an empty folder")
            }
        }
        do {
            if files.fileExists(atPath: partial) { try files.removeItem(atPath: partial) }
            try files.createDirectory(atPath: partial, withIntermediateDirectories: true)
        } catch {
            throw CheckpointError.file(partial, fact: "cannot be created")
        }
    }

    /// Removes what was written.
    public func abandon() throws {
        guard FileManager.default.fileExists(atPath: partial) else { return }
        try FileManager.default.removeItem(atPath: partial)
    }

    /// Puts the folder under its name.
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
            try files.moveItem(atPath: partial, toPath: directory)
        } catch {
            throw CheckpointError.file(directory, fact: "cannot be put in place: \(error)")
        }
    }

    /// Writes a small file.
    public func write(_ text: String, to file: String) throws {
        let path = partial + "/" + file
        guard FileManager.default.createFile(atPath: path, contents: Data(text.utf8)) else {
            throw CheckpointError.file(path, fact: "cannot be written")
        }
    }

    /// Copies a file of another folder.
    public func copy(_ file: String, from source: String) throws {
        do {
            try FileManager.default.copyItem(
                atPath: source + "/" + file, toPath: partial + "/" + file)
        } catch {
            throw CheckpointError.file(file, fact: "cannot be copied to \(partial)")
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
            try file.finish()
        }
        progress?(LoadProgress(loadedBytes: total, totalBytes: total, elapsed: .now - start))
    }

    /// Cuts a tensor into ranges of rows; all but the last are whole blocks of 128, so that no
    /// scale spans two strips.
    private static func strips(
        _ tensor: OutputTensor
    ) -> [(tensor: OutputTensor, rows: Range<Int>)] {
        guard tensor.elementCount > 0 else { return [] }
        let width = max(1, tensor.columns * tensor.numbersPerValue)
        let blocks = max(1, stripElements / width / 128)
        return stride(from: 0, to: tensor.rows, by: blocks * 128).map {
            (tensor, $0 ..< min($0 + blocks * 128, tensor.rows))
        }
    }
}
