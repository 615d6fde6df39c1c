import Encoding
import Foundation
import Synchronization
import Tensors

/// A folder that holds a part of a checkpoint: files of full length, with holes where nothing was
/// received, and a record of what was.
///
/// 1. A byte of a tensor is given only if its piece is in the record and has its digest, which is
///    checked once per process.
/// 2. A piece is recorded after it was written; a kill costs the pieces that were on their way.
/// 3. One process of the machine receives at a time; the others wait, and find what it received.
final class PartialFolder: Sendable {
    private struct State {
        var record: ArrivalRecord
        /// Pieces that this process saw to be right.
        var checked: Set<ArrivalRecord.Key> = []
        var sinks: [String: FileSink] = [:]
    }

    private let directory: String
    private let source: (any PieceSource)?
    private let state: Mutex<State>

    /// Nil for a folder that holds all of its checkpoint.
    ///
    /// - Parameter source: What is not here comes from it; nil where it cannot come.
    init?(_ directory: String, source: (any PieceSource)?) {
        guard ArrivalRecord.isIn(directory) else { return nil }
        self.directory = directory
        self.source = source
        state = Mutex(State(record: ArrivalRecord(in: directory)))
    }

    /// Bytes of a tensor that are to be read.
    struct Wanted {
        let shard: MappedFile
        let entry: TensorEntry
        /// Counted from the start of the file.
        let bytes: Range<Int>
    }

    /// Makes sure that bytes are here, and right.
    ///
    /// - Throws: `CheckpointError` that names the tensor where there is no source, and why bytes do
    ///   not come.
    func require(_ wanted: [Wanted]) throws {
        let pieces = missing(wanted)
        guard !pieces.isEmpty else { return }
        let lock = try lock()
        defer { withExtendedLifetime(lock) {} }
        try updateRecord()
        let found = recheck(pieces)
        guard let source else {
            let lacking = found.first { $0.piece.held == nil }
            for (piece, _) in found where piece.held != nil { note(piece) }
            guard let lacking else { return }
            throw CheckpointError.tensor(
                file: directory + "/" + lacking.piece.file, name: lacking.tensor.printable(),
                fact: "has not been received: this folder holds what ranks of a job needed "
                    + "(\(ArrivalRecord.name)); name a folder that holds all of the checkpoint")
        }
        let missingBytes = found.reduce(0) { $1.piece.held == nil ? $0 + $1.piece.bytes.count : $0 }
        if missingBytes > 0 { try source.makeRoom(for: missingBytes) }
        let log = try openRecord()
        try source.receive(found.map(\.piece)) { [self] piece, bytes, digest in
            if let bytes { try write(bytes, of: piece, digest, log) }
            note(piece)
        }
    }

    /// Pieces of what is wanted that this process has not seen yet, each with its tensor.
    private func missing(_ wanted: [Wanted]) -> [(piece: CheckpointPiece, tensor: String)] {
        var pieces: [(CheckpointPiece, String)] = []
        var known: Set<ArrivalRecord.Key> = []
        let checked = state.withLock { $0.checked }
        for item in wanted {
            let file = NSString(string: item.shard.path).lastPathComponent
            let tensor = item.entry.bytes
            let size = CheckpointPiece.mostBytes
            // Pieces begin at the tensor's start, so that everybody cuts it the same way.
            let first = (item.bytes.lowerBound - tensor.lowerBound) / size
            for start in stride(
                from: tensor.lowerBound + first * size, to: item.bytes.upperBound, by: size)
            {
                let key = ArrivalRecord.Key(file: file, offset: start)
                guard !checked.contains(key), known.insert(key).inserted else { continue }
                let bytes = start ..< min(start + size, tensor.upperBound)
                guard !bytes.isEmpty else { continue }
                pieces.append((CheckpointPiece(file: file, bytes: bytes), item.entry.name))
            }
        }
        return pieces
    }

    /// Reads again what the record says is here; a piece that has its digest is held.
    private func recheck(
        _ pieces: [(piece: CheckpointPiece, tensor: String)]
    ) -> [(piece: CheckpointPiece, tensor: String)] {
        let record = state.withLock { $0.record }
        let known = pieces.map { record.digest(of: $0.piece) }
        let held = Mutex([Digest?](repeating: nil, count: pieces.count))
        let directory = directory
        let recorded = pieces.indices.filter { known[$0] != nil }
        DispatchQueue.concurrentPerform(iterations: recorded.count) { number in
            let index = recorded[number]
            let piece = pieces[index].piece
            // What cannot be read, or is not what it was, comes again.
            guard let file = try? MappedFile(path: directory + "/" + piece.file),
                piece.bytes.upperBound <= file.byteCount,
                let bytes = try? file.readBytes(piece.bytes), Digest(of: bytes) == known[index]
            else { return }
            held.withLock { $0[index] = known[index] }
        }
        let found = held.withLock { $0 }
        return pieces.indices.map { index in
            var piece = pieces[index].piece
            piece.held = found[index]
            return (piece, pieces[index].tensor)
        }
    }

    private func note(_ piece: CheckpointPiece) {
        let key = ArrivalRecord.Key(file: piece.file, offset: piece.bytes.lowerBound)
        state.withLock { _ = $0.checked.insert(key) }
    }

    private func write(
        _ bytes: [UInt8], of piece: CheckpointPiece, _ digest: Digest, _ log: FileSink
    ) throws {
        do {
            let sink = try state.withLock { state in
                if let sink = state.sinks[piece.file] { return sink }
                let sink = try FileSink(existing: directory + "/" + piece.file)
                state.sinks[piece.file] = sink
                return sink
            }
            try sink.write(bytes.span.raw, at: piece.bytes.lowerBound)
            try log.append(ArrivalRecord.line(piece, digest).span.raw)
        } catch let error as FileError {
            throw CheckpointError.file(
                error.path,
                fact: "\(piece.bytes.count) bytes that came cannot be written: \(error.call): "
                    + "\(error.reason); what arrived is kept")
        }
    }

    private func updateRecord() throws {
        do {
            try state.withLock { try $0.record.update() }
        } catch {
            throw CheckpointError.file(
                directory + "/" + ArrivalRecord.name,
                fact: "cannot be read: \(error.localizedDescription)")
        }
    }

    private func openRecord() throws -> FileSink {
        let path = directory + "/" + ArrivalRecord.name
        do { return try FileSink(appendingTo: path) } catch {
            throw CheckpointError.file(
                path, fact: "cannot be written: \(error.call): \(error.reason)")
        }
    }

    /// The right to receive, which another process may have for now.
    private func lock() throws -> FileLock? {
        // A folder that nothing comes into may be on a disk that cannot be written.
        guard let source else { return nil }
        return try FileLock.waiting(
            directory + "/" + ArrivalRecord.name + ".lock", limit: source.waitLimit)
    }
}

extension FileLock {
    /// Waits for a lock that another process may have.
    ///
    /// - Throws: `CheckpointError.file` after the limit, and where the file cannot be made.
    static func waiting(_ path: String, limit: Duration) throws(CheckpointError) -> FileLock {
        let end = ContinuousClock.now + limit
        while true {
            do throws(FileError) { return try FileLock(path: path) } catch {
                guard error.code == EWOULDBLOCK else {
                    throw .file(path, fact: "cannot be locked: \(error.call): \(error.reason)")
                }
                guard .now < end else {
                    throw .file(
                        path,
                        fact: "another process receives, and was not done within \(limit)")
                }
            }
            Thread.sleep(forTimeInterval: 0.02)
        }
    }
}
