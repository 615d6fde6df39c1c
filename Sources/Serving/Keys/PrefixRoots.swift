import Encoding
import Foundation
import Topology

/// Where the prefixes of a caller begin in the prefix tree: nobody else finds them, or can reckon
/// where they are.
///
/// A root is the beginning of an HMAC-SHA256 under a secret. A secret of the process makes roots
/// that live as long as it: a server or coordinator that comes after it has other ones, so that
/// prefixes which the ranks still hold of the one before are not found again. That costs time, and
/// shows nothing. Where prefixes are kept in files the secret is a file beside them.
public struct PrefixRoots: Sendable {
    private let secret: [UInt8]

    /// Roots that live as long as the process.
    public init() { secret = Self.random() }

    /// Roots that live as long as a folder of prefixes; its secret is made if it is not there.
    ///
    /// - Throws: `ServingError.configuration` for a folder or a file that cannot be used, or that
    ///   others may read.
    public init(folder: String) throws(ServingError) {
        try PrefixFolder.make(folder)
        let path = URL(filePath: folder).appending(path: "secret").path(percentEncoded: false)
        if !FileManager.default.fileExists(atPath: path) {
            try Self.write(path)
        }
        do {
            try InputFile.checkIsPrivate(path, environment: [:])
        } catch {
            throw .configuration(message: "prefix secret \(path) \(error)")
        }
        let bytes = try WholeFile.read(path, limit: Self.secretBytes) {
            ServingError.configuration(message: "prefix secret \(path) \($0)")
        }
        guard bytes.count == Self.secretBytes else {
            throw .configuration(
                message: "prefix secret \(path) has \(bytes.count) bytes, not \(Self.secretBytes):"
                    + " remove it, and prefixes of keys and salts are computed anew")
        }
        secret = Array(bytes)
    }

    /// The root of those who send this `cache_salt`; without one, the root of all.
    func root(of salt: String?) -> UInt64 { salt.map { hash(0, Array($0.utf8)) } ?? Self.shared }

    /// The root of what an owner sends under another root.
    ///
    /// - Parameter owner: Empty for callers without a key.
    func root(of owner: String, under root: UInt64) -> UInt64 {
        owner.isEmpty ? root : hash(1, PrefixKey.littleEndian(root) + Array(owner.utf8))
    }

    private static let shared: UInt64 = 0
    private static let secretBytes = 32

    private static func random() -> [UInt8] {
        var source = SystemRandomNumberGenerator()
        return (0 ..< secretBytes).map { _ in UInt8.random(in: 0 ... 255, using: &source) }
    }

    /// Writes a secret under another name and gives it its own, once it is on the disk: of two that
    /// do, one has it.
    private static func write(_ path: String) throws(ServingError) {
        let other = URL(filePath: path + ".\(UUID().uuidString)")
        let files = FileManager.default
        defer { try? files.removeItem(at: other) }
        do {
            try Data(random()).write(to: other, options: .withoutOverwriting)
            let name = other.path(percentEncoded: false)
            try files.setAttributes([.posixPermissions: 0o600], ofItemAtPath: name)
            let handle = try FileHandle(forUpdating: other)
            try handle.synchronize()
            try handle.close()
            // Unlike a move, a link takes nobody's place.
            try files.linkItem(atPath: name, toPath: path)
        } catch {
            // The other one has it.
            if files.fileExists(atPath: path) { return }
            throw .configuration(
                message: "prefix secret \(path) cannot be made: \(error.localizedDescription);"
                    + " write \(secretBytes) random bytes there yourself (mode 600)")
        }
    }

    /// Statements of one kind begin with one number, so no two kinds are the same bytes.
    private func hash(_ kind: UInt8, _ text: [UInt8]) -> UInt64 {
        let code = Digest(of: [kind] + text, under: secret).bytes.prefix(8)
        return max(1, code.reduce(0) { $0 << 8 | UInt64($1) })
    }
}
