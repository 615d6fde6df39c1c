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
/// 4. All files have a limit together, and those being written count. Where there are several
///    owners, a quarter of the room is never one owner's.
/// 5. Only regular files with names that this makes are read, counted or removed. Whatever else a
///    folder holds is its owner's, and stays.
final class BatchFolder: Sendable {
    private struct State {
        var files: [String: StoredFile] = [:]
        var batches: [String: Batch] = [:]
        /// Of all files, and of those being written.
        var bytes = 0
        /// The same by owner.
        var bytesOf: [String: Int] = [:]

        mutating func count(_ bytes: Int, of owner: String) {
            self.bytes = max(0, self.bytes + bytes)
            let left = bytesOf[owner, default: 0] + bytes
            bytesOf[owner] = left > 0 ? left : nil
        }
    }

    private let path: String
    private let limits: ServiceLimits
    private let isShared: @Sendable () -> Bool
    private let lock: FileLock
    /// Where uploads wait for the disk.
    let lane = WorkLane("apus-files", niceness: 0)
    private let state = Mutex(State())

    private let countLimit: Int

    /// Opens a folder, or makes it.
    ///
    /// - Parameters:
    ///   - countLimit: Files, and batches, that it may hold.
    ///   - isShared: Whether there are several owners now.
    /// - Throws: `ServingError.configuration` if it cannot be used, or another server uses it.
    init(
        path: String, limits: ServiceLimits, countLimit: Int = 10_000,
        isShared: @escaping @Sendable () -> Bool = { false }
    ) throws(ServingError) {
        self.path = path
        self.countLimit = countLimit
        self.limits = limits
        self.isShared = isShared
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
                message: "batchFolder \(path) is in use by another server, or cannot be "
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
        let words = (error as? ServingError)?.message ?? error.localizedDescription
        return .configuration(
            message: "batchFolder \(path) cannot be used: \(words). Name another one "
                + "(api.batchFolder), or move what is damaged out of it")
    }

    private static func load(_ path: String) throws -> State {
        var state = State()
        for batch in try values(of: Batch.self, StoredID.batch, in: "\(path)/batches", id: \.id) {
            state.batches[batch.id] = batch
        }
        for file in try values(of: StoredFile.self, StoredID.file, in: "\(path)/files", id: \.id) {
            state.files[file.id] = file
            state.count(file.bytes, of: file.owner)
        }
        // What a batch under way has written stays; what an upload left behind goes.
        let open = state.batches.values.filter { !$0.state.hasEnded }
        let written = Dictionary(
            open.flatMap { [($0.output, $0.owner), ($0.errors, $0.owner)] },
            uniquingKeysWith: { first, _ in first })
        for id in try ids(StoredID.file, in: "\(path)/files") where state.files[id] == nil {
            let file = "\(path)/files/\(id)"
            if let owner = written[id] {
                state.count(try byteCount(of: file), of: owner)
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
    /// What one owner may have of a limit (4).
    private func share(of limit: Int, _ owner: String) -> Int {
        !owner.isEmpty && isShared() ? limit - limit / 4 : limit
    }

    /// Counts an owner's bytes that are about to be written; negative ones free room.
    ///
    /// - Parameter isOutput: What a batch writes, which began when its owner had room: a key that
    ///   comes meanwhile takes none of it.
    /// - Throws: 413 where all files, or this owner's, are at their limit.
    func reserve(_ bytes: Int, of owner: String, isOutput: Bool = false) throws(APIError) {
        let share = isOutput ? limits.allFileBytes : share(of: limits.allFileBytes, owner)
        let (own, all) = state.withLock { state in
            let (own, all) = (state.bytesOf[owner, default: 0] + bytes, state.bytes + bytes)
            guard bytes <= 0 || own <= share && all <= limits.allFileBytes else {
                return (own, all)
            }
            state.count(bytes, of: owner)
            return (0, 0)
        }
        if own > share {
            throw Self.full("your files have \(own) bytes", share, "api.limits.allFileBytes")
        }
        if all > limits.allFileBytes {
            throw Self.full(
                "all files have \(all) bytes", limits.allFileBytes, "api.limits.allFileBytes")
        }
    }

    private static func full(_ fact: String, _ limit: Int, _ name: String) -> APIError {
        APIError(
            status: 413,
            message: "\(fact): the limit is \(limit) (\(name), of which one key has three quarters "
                + "where there are several). Delete files that are no longer needed",
            type: "invalid_request_error")
    }

    /// Keeps a file, whose content is on the disk and whose bytes are reserved. Waits until the
    /// disk has its description, too.
    func add(_ file: StoredFile) throws {
        let share = share(of: countLimit, file.owner)
        let (own, all) = state.withLock { state in
            (state.files.values.count { $0.owner == file.owner }, state.files.count)
        }
        // What a batch wrote is never lost.
        if file.purpose != .output {
            let name = "BatchFolder.countLimit"
            if own >= share { throw Self.full("you have \(own) files", share, name) }
            if all >= countLimit {
                throw Self.full("\(all) files are stored", countLimit, name)
            }
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
        try reserve(-file.bytes, of: owner)
    }
}

// MARK: Batches

extension BatchFolder {
    /// Keeps a new batch.
    ///
    /// Beyond the limit the owner's oldest one that has ended is forgotten; its files stay. An
    /// owner who has none takes the place of one of the owner with the most.
    ///
    /// - Throws: 429 where none has ended.
    func add(_ batch: Batch) throws {
        let share = share(of: countLimit, batch.owner)
        let (old, isFull) = state.withLock { state -> (Batch?, Bool) in
            let counts = Dictionary(grouping: state.batches.values, by: \.owner)
                .mapValues(\.count)
            let own = counts[batch.owner, default: 0]
            guard own >= share || state.batches.count >= countLimit else {
                return (nil, false)
            }
            func oldest(of owner: String) -> Batch? {
                state.batches.values.filter { $0.owner == owner && $0.state.hasEnded }
                    .min { ($0.created, $0.id) < ($1.created, $1.id) }
            }
            var old = oldest(of: batch.owner)
            if old == nil, own < share,
                let most = counts.max(by: { ($0.value, $1.key) < ($1.value, $0.key) }),
                most.value > own + 1
            {
                old = oldest(of: most.key)
            }
            if let old { state.batches[old.id] = nil }
            return (old, old == nil)
        }
        guard !isFull else {
            throw APIError(
                status: 429,
                message: "\(share) batches wait or run, which is the limit "
                    + "(BatchFolder.countLimit, of which one key has three quarters where there "
                    + "are several)",
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
