import Encoding
import Foundation
import Synchronization
import Tensors

/// The files and batches of a server, in a folder that outlives it.
///
///     FOLDER/lock
///     FOLDER/files/ID        what is in the file; FOLDER/files/ID.json is what it is called
///     FOLDER/batches/ID.json how far the batch is
///
/// 1. One server at a time uses a folder.
/// 2. A file is known when all of it is on the disk, and its description after it.
/// 3. Ids are ours: what a caller sends is looked up, and never becomes part of a path.
/// 4. All files have a limit together, and those being written count.
/// 5. Only regular files with names that this makes are read, counted or removed. Whatever else a
///    folder holds is its owner's, and stays.
final class BatchFolder: Sendable {
    private struct State {
        var files: [String: StoredFile] = [:]
        var batches: [String: Batch] = [:]
        /// Of all files, and of those being written.
        var bytes = 0
    }

    private let path: String
    private let limits: ServiceLimits
    private let lock: FileLock
    /// Where uploads wait for the disk.
    let lane = WorkLane("apus-files", niceness: 0)
    private let state = Mutex(State())

    /// Files, and batches, that a folder may hold.
    static let countLimit = 10_000

    /// Opens a folder, or makes it.
    ///
    /// - Throws: `ServingError.configuration` if it cannot be used, or another server uses it.
    init(path: String, limits: ServiceLimits) throws(ServingError) {
        self.path = path
        self.limits = limits
        do {
            for folder in [path, "\(path)/files", "\(path)/batches"] {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true,
                    attributes: [.posixPermissions: 0o700])
            }
        } catch {
            throw Self.unusable(path, error)
        }
        do { lock = try FileLock(path: "\(path)/lock") } catch {
            throw .configuration(
                message: "the batch folder \(path) is in use by another server, or cannot be "
                    + "locked: \(error). Give each server a folder of its own (api.batchFolder)")
        }
        do {
            let loaded = try Self.load(path)
            state.withLock { $0 = loaded }
        } catch {
            throw Self.unusable(path, error)
        }
    }

    private static func unusable(_ path: String, _ error: any Error) -> ServingError {
        .configuration(
            message: "the batch folder \(path) cannot be used: \(error). Name another one "
                + "(api.batchFolder), or move what is damaged out of it")
    }

    private static func load(_ path: String) throws -> State {
        var state = State()
        for batch in try values(of: Batch.self, StoredID.batch, in: "\(path)/batches", id: \.id) {
            state.batches[batch.id] = batch
        }
        for file in try values(of: StoredFile.self, StoredID.file, in: "\(path)/files", id: \.id) {
            state.files[file.id] = file
            state.bytes += file.bytes
        }
        // What a batch under way has written stays; what an upload left behind goes.
        let open = state.batches.values.filter { !$0.state.hasEnded }
        let written = Set(open.flatMap { [$0.output, $0.errors] })
        for id in try ids(StoredID.file, in: "\(path)/files") where state.files[id] == nil {
            let file = "\(path)/files/\(id)"
            if written.contains(id) {
                state.bytes += try byteCount(of: file)
            } else {
                try FileManager.default.removeItem(atPath: file)
            }
        }
        for (kind, folder) in [(StoredID.batch, "batches"), (StoredID.file, "files")] {
            for id in try ids(kind, in: "\(path)/\(folder)", ending: partialEnd) {
                try FileManager.default.removeItem(atPath: "\(path)/\(folder)/\(id)\(partialEnd)")
            }
        }
        return state
    }

    /// How the name of a description ends, and how it ends while that is written.
    private static let descriptionEnd = ".json"
    private static let partialEnd = ".json.partial"

    /// Ids by which a folder's regular files are named, in front of `ending` (5).
    private static func ids(
        _ kind: String, in folder: String, ending: String = ""
    ) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).compactMap { name in
            guard name.hasSuffix(ending) else { return nil }
            let id = String(name.dropLast(ending.count))
            guard StoredID.isOne(id, kind), try isRegular("\(folder)/\(name)") else { return nil }
            return id
        }
    }

    /// Whether this is a file, and neither a folder nor a link to something elsewhere.
    private static func isRegular(_ path: String) throws -> Bool {
        let type = try FileManager.default.attributesOfItem(atPath: path)[.type]
        return type as? FileAttributeType == .typeRegular
    }

    /// Bytes of a regular file; 0 where there is none.
    private static func byteCount(of path: String) throws -> Int {
        guard FileManager.default.fileExists(atPath: path), try isRegular(path) else { return 0 }
        return Int(try FileHandle(forReadingFrom: URL(filePath: path)).seekToEnd())
    }

    private static func removeIfThere(_ path: String) throws {
        guard FileManager.default.fileExists(atPath: path) else { return }
        try FileManager.default.removeItem(atPath: path)
    }

    private static func values<Value: Decodable>(
        of type: Value.Type, _ kind: String, in folder: String, id: (Value) -> String
    ) throws -> [Value] {
        try ids(kind, in: folder, ending: descriptionEnd).map { name in
            let file = "\(folder)/\(name)\(descriptionEnd)"
            do {
                let data = try Data(contentsOf: URL(filePath: file))
                let value = try JSONDecoder().decode(type, from: data)
                guard id(value) == name else {
                    throw ServingError.configuration(message: "it describes \(id(value))")
                }
                return value
            } catch {
                throw ServingError.configuration(message: "\(file) is damaged: \(error)")
            }
        }
    }

    /// Where the content of a file with one of our ids is.
    func path(of id: String) -> String { "\(path)/files/\(id)" }

    /// Bytes that are in the file with one of our ids; 0 where there is none.
    func byteCount(of id: String) throws -> Int { try Self.byteCount(of: path(of: id)) }

    /// Writes a description, whole or not at all.
    ///
    /// - Parameter isNew: Whether to wait until the disk has its name, too.
    private func write(
        _ value: some Encodable, to folder: String, _ id: String, isNew: Bool = false
    ) throws {
        let folder = "\(path)/\(folder)"
        // A partial one that stays is written anew, or taken away by the next server.
        let sink = try FileSink(path: "\(folder)/\(id)\(Self.partialEnd)")
        try sink.append([UInt8](try JSONEncoder().encode(value)))
        // The name may reach the disk before the bytes do.
        try sink.synchronize()
        try sink.publish(as: "\(folder)/\(id)\(Self.descriptionEnd)")
        if isNew { try FileSink.synchronize(folder: folder) }
    }
}

// MARK: Files

extension BatchFolder {
    /// Counts bytes that are about to be written; negative ones free room.
    ///
    /// - Throws: 413 where all files are at their limit.
    func reserve(_ bytes: Int) throws(APIError) {
        let all = state.withLock { state in
            guard bytes <= 0 || state.bytes + bytes <= limits.allFileBytes else {
                return state.bytes + bytes
            }
            state.bytes = max(0, state.bytes + bytes)
            return 0
        }
        guard all == 0 else {
            throw APIError(
                status: 413,
                message: "all files have \(all) bytes: the limit is \(limits.allFileBytes) "
                    + "(api.limits.allFileBytes). Delete files that are no longer needed",
                type: "invalid_request_error")
        }
    }

    /// Keeps a file, whose content is on the disk and whose bytes are reserved. Waits until the
    /// disk has its description, too.
    func add(_ file: StoredFile) throws {
        let isFull = state.withLock { $0.files.count >= Self.countLimit }
        // What a batch wrote is never lost.
        guard !isFull || file.purpose == .output else {
            throw APIError(
                status: 413,
                message: "\(Self.countLimit) files are stored, which is the limit "
                    + "(BatchFolder.countLimit). Delete files that are no longer needed",
                type: "invalid_request_error")
        }
        do {
            try write(file, to: "files", file.id, isNew: true)
        } catch let failure {
            do { try Self.removeIfThere(path(of: file.id) + Self.descriptionEnd) } catch {
                // The next server knows a file without content, which can be deleted.
            }
            throw failure
        }
        state.withLock { $0.files[file.id] = file }
    }

    /// - Throws: 404 for a file that this owner does not have.
    func file(_ id: String, of owner: String) throws(APIError) -> StoredFile {
        guard let file = state.withLock({ $0.files[id] }), file.owner == owner else {
            throw Self.noFile(id)
        }
        return file
    }

    private static func noFile(_ id: String) -> APIError {
        .notFound(
            "there is no file \(JSONValue.quoted(String(id.prefix(128))))", code: "file_not_found")
    }

    /// The latest first.
    func files(of owner: String) -> [StoredFile] {
        state.withLock { Array($0.files.values) }.filter { $0.owner == owner }
            .sorted { ($0.created, $0.id) > ($1.created, $1.id) }
    }

    /// - Throws: 404, and 400 for the input of a batch that has not ended.
    func delete(_ id: String, of owner: String) throws {
        let file = try file(id, of: owner)
        let user = state.withLock { state in
            state.batches.values.first { !$0.state.hasEnded && $0.input == id }
        }
        if let user {
            throw APIError.invalid(
                "\(JSONValue.quoted(id)) is the input of \(user.id), which is "
                    + "\(user.state.rawValue): cancel that first")
        }
        // Without its description the content is no file: the next server would take it away.
        try Self.removeIfThere(path(of: id) + Self.descriptionEnd)
        // Another request may delete it, too: its room is freed once.
        guard state.withLock({ $0.files.removeValue(forKey: id) }) != nil else {
            throw Self.noFile(id)
        }
        // Content that is gone leaves its room; one that cannot be removed keeps it.
        try Self.removeIfThere(path(of: id))
        try reserve(-file.bytes)
    }
}

// MARK: Batches

extension BatchFolder {
    /// Keeps a new batch.
    ///
    /// Beyond the limit the oldest one that has ended is forgotten; its files stay.
    ///
    /// - Throws: 429 where none has ended.
    func add(_ batch: Batch) throws {
        let (old, isFull) = state.withLock { state -> (Batch?, Bool) in
            guard state.batches.count >= Self.countLimit else { return (nil, false) }
            let old = state.batches.values.filter { $0.state.hasEnded }
                .min { ($0.created, $0.id) < ($1.created, $1.id) }
            if let old { state.batches[old.id] = nil }
            return (old, old == nil)
        }
        guard !isFull else {
            throw APIError(
                status: 429,
                message: "\(Self.countLimit) batches wait or run, which is the limit "
                    + "(BatchFolder.countLimit)",
                type: "rate_limit_error", code: "overloaded", retryAfterSeconds: 60)
        }
        if let old {
            try Self.removeIfThere("\(path)/batches/\(old.id)\(Self.descriptionEnd)")
        }
        try write(batch, to: "batches", batch.id, isNew: true)
        state.withLock { $0.batches[batch.id] = batch }
    }

    /// - Throws: 404 for a batch that this owner does not have.
    func batch(_ id: String, of owner: String) throws(APIError) -> Batch {
        guard let batch = batch(id), batch.owner == owner else {
            throw .notFound(
                "there is no batch \(JSONValue.quoted(String(id.prefix(128))))",
                code: "batch_not_found")
        }
        return batch
    }

    func batch(_ id: String) -> Batch? { state.withLock { $0.batches[id] } }

    /// The latest first.
    func batches(of owner: String) -> [Batch] {
        state.withLock { Array($0.batches.values) }.filter { $0.owner == owner }
            .sorted { ($0.created, $0.id) > ($1.created, $1.id) }
    }

    /// Those that have not ended, the oldest first.
    var openBatches: [Batch] {
        state.withLock { Array($0.batches.values) }.filter { !$0.state.hasEnded }
            .sorted { ($0.created, $0.id) < ($1.created, $1.id) }
    }

    /// Changes a batch that has not ended; a change of its state, or that its window is over, is on
    /// the disk before it is seen.
    ///
    /// - Returns: The batch as it is now, which is unchanged if it had ended.
    @discardableResult
    func change(_ id: String, _ body: (inout Batch) -> Void) throws -> Batch? {
        try state.withLock { state in
            guard var batch = state.batches[id], !batch.state.hasEnded else {
                return state.batches[id]
            }
            let before = (batch.state, batch.hasExpired)
            body(&batch)
            if before != (batch.state, batch.hasExpired) { try write(batch, to: "batches", id) }
            state.batches[id] = batch
            return batch
        }
    }
}
