import Encoding

/// A file that a client sent, or that a batch wrote.
struct StoredFile: Codable, Hashable, Sendable {
    /// What a file is for.
    enum Purpose: String, Codable, Sendable {
        case input = "batch"
        case output = "batch_output"
    }

    let id: String
    /// What its sender calls it.
    let name: String
    let purpose: Purpose
    let bytes: Int
    /// Seconds since 1970.
    let created: Int
    /// Who may see it: callers with one key, as `Owner` tells them apart.
    let owner: String

    /// The file as the API describes it.
    var object: JSONValue {
        [
            "id": .string(id), "object": "file", "bytes": .number(bytes),
            "created_at": .number(created), "expires_at": .null, "filename": .string(name),
            "purpose": .string(purpose.rawValue), "status": "processed", "status_details": .null,
        ]
    }
}
