import Foundation

/// Ids of what a server keeps for its clients, which nobody can guess.
enum StoredID {
    /// - Parameter kind: What the id begins with, as `file-`.
    static func make(_ kind: String) -> String { kind + word() + word() }

    /// 16 hexadecimal digits.
    static func word() -> String {
        let word = String(UInt64.random(in: .min ... .max), radix: 16)
        return String(repeating: "0", count: 16 - word.count) + word
    }

    /// Seconds since 1970.
    static var now: Int { Int(Date().timeIntervalSince1970) }
}
