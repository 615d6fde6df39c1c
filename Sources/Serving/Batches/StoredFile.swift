import Encoding
import Foundation

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

/// Ids of files and batches, which nobody can guess.
enum StoredID {
    /// What ids of files begin with.
    static let file = "file-"
    /// What ids of batches begin with.
    static let batch = "batch_"

    /// - Parameter kind: What the id begins with, as `file-`.
    static func make(_ kind: String) -> String { kind + word() + word() }

    /// Whether `make` can have made this name.
    static func isOne(_ name: String, _ kind: String) -> Bool {
        let digits = name.utf8.dropFirst(kind.utf8.count)
        return name.hasPrefix(kind) && digits.count == 2 * wordLength
            && digits.allSatisfy { (0x30 ... 0x39).contains($0) || (0x61 ... 0x66).contains($0) }
    }

    private static let wordLength = 16

    /// 16 hexadecimal digits.
    static func word() -> String {
        let word = String(UInt64.random(in: .min ... .max), radix: 16)
        return String(repeating: "0", count: wordLength - word.count) + word
    }

    /// Seconds since 1970.
    static var now: Int { Int(Date().timeIntervalSince1970) }
}
