import Encoding
import Foundation

/// A file while its client sends it: written to the disk as it arrives.
///
/// 1. A file that is not kept in the end leaves nothing, neither bytes nor room.
final class FileUpload {
    /// The part of the form that arrives now.
    private enum Part {
        case none, file
        case field(String)
    }

    /// Bytes of a field that is no file.
    private static let fieldLimit = 256
    private static let nameLimit = 512

    private let folder: BatchFolder
    private let id = StoredID.make(StoredID.file)
    private let owner: String
    private let limit: Int
    private var reader: MultipartReader
    private var handle: FileHandle?
    private var name: String?
    private var bytes = 0
    private var fields: [String: [UInt8]] = [:]
    private var part = Part.none
    private var isKept = false

    /// - Parameter limit: Bytes of the file.
    init(
        _ folder: BatchFolder, of owner: String, contentType: String, limit: Int
    ) throws(APIError) {
        self.folder = folder
        self.owner = owner
        self.limit = limit
        reader = try MultipartReader(contentType: contentType)
    }

    deinit {
        guard !isKept, name != nil else { return }
        do {
            try folder.reserve(-bytes, of: owner)
            try handle?.close()
            try FileManager.default.removeItem(atPath: folder.path(of: id))
        } catch {
            // The next server that opens the folder takes it away.
        }
    }

    static func tooLarge(_ limit: Int) -> APIError {
        APIError(
            status: 413,
            message: "the file has more than \(limit) bytes (api.limits.fileBytes)",
            type: "invalid_request_error")
    }

    /// Takes what arrived of the form.
    func append(_ piece: some Collection<UInt8>) throws {
        for event in try reader.append(piece) {
            switch event {
            case .part(let name, let file): try begin(name, file)
            case .bytes(let bytes): try take(bytes)
            }
        }
    }

    private func begin(_ name: String, _ file: String?) throws {
        switch name {
        case "file":
            guard self.name == nil else {
                throw APIError.invalid("the form has two files", parameter: "file")
            }
            let word = file.map { $0.isEmpty ? "upload.jsonl" : $0 } ?? "upload.jsonl"
            guard word.utf8.count <= Self.nameLimit else {
                throw APIError.invalid(
                    "the file's name has \(word.utf8.count) bytes: the limit is \(Self.nameLimit)",
                    parameter: "file")
            }
            let path = folder.path(of: id)
            guard
                FileManager.default.createFile(
                    atPath: path, contents: nil, attributes: [.posixPermissions: 0o600])
            else {
                throw APIError(
                    status: 500, message: "the batch folder cannot be written",
                    type: "server_error")
            }
            self.name = word
            handle = try FileHandle(forWritingTo: URL(filePath: path))
            part = .file
        case "purpose":
            guard fields[name] == nil else {
                throw APIError.invalid("the form has two fields purpose", parameter: name)
            }
            fields[name] = []
            part = .field(name)
        default:
            let word = JSONValue.quoted(String(name.prefix(64)))
            throw APIError.invalid(
                "\(word) is no field that this server knows: it takes file and purpose",
                parameter: String(name.prefix(64)), code: "unknown_parameter")
        }
    }

    private func take(_ piece: [UInt8]) throws {
        switch part {
        case .none: break
        case .file:
            guard bytes + piece.count <= limit else {
                throw Self.tooLarge(limit)
            }
            try folder.reserve(piece.count, of: owner)
            bytes += piece.count
            try handle?.write(contentsOf: piece)
        case .field(let name):
            fields[name, default: []] += piece
            guard (fields[name]?.count ?? 0) <= Self.fieldLimit else {
                throw APIError.invalid(
                    "\(name) has more than \(Self.fieldLimit) bytes", parameter: name)
            }
        }
    }

    /// Keeps the file when the disk has it.
    ///
    /// - Throws: 400 for a form that is cut or lacks a field.
    func finish() async throws -> StoredFile {
        guard reader.hasEnded else { throw APIError.invalid("the form ends before its last part") }
        guard let purpose = fields["purpose"] else {
            throw APIError.invalid("purpose is missing", parameter: "purpose")
        }
        guard String(decoding: purpose, as: UTF8.self) == StoredFile.Purpose.input.rawValue else {
            let word = JSONValue.quoted(String(decoding: purpose, as: UTF8.self))
            throw APIError.invalid("purpose is \(word): it must be batch", parameter: "purpose")
        }
        guard let name else { throw APIError.invalid("file is missing", parameter: "file") }
        let file = StoredFile(
            id: id, name: name, purpose: .input, bytes: bytes, created: StoredID.now, owner: owner)
        let (folder, handle) = (folder, handle)
        // No thread that writes streams waits for the disk.
        try await folder.lane.run(for: owner) {
            try handle?.synchronize()
            try handle?.close()
            try folder.add(file)
        }
        isKept = true
        return file
    }
}
