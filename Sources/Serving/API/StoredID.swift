import Foundation

/// Ids of what a server keeps for its clients, which nobody can guess.
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
