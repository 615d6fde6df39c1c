import Encoding
public import Foundation

/// A 64-bit fingerprint of bytes (FNV-1a).
///
/// It tells files apart that were mixed up by mistake; it keeps no attacker out, the token does
/// that.
public struct Fingerprint: Sendable {
    private var hash = FNV1a()

    /// The fingerprint of nothing.
    public init() {}

    /// Takes in bytes.
    public mutating func add(_ bytes: Data) {
        var hash = hash
        for byte in bytes { hash.add(UInt64(byte)) }
        self.hash = hash
    }

    /// Takes in a word and its length, so that `ab` and `c` differ from `a` and `bc`.
    public mutating func add(_ text: String) {
        add(Data(text.utf8))
        add(Data([0]))
    }

    /// 16 hexadecimal digits.
    public var text: String {
        let digits = String(hash.value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// The fingerprint of a file.
    package static func ofFile(_ path: String) throws(ClusterError) -> String {
        do {
            var fingerprint = Fingerprint()
            fingerprint.add(
                try Data(contentsOf: URL(filePath: path), options: .mappedIfSafe))
            return fingerprint.text
        } catch {
            throw .badInput("\(path): \(error.localizedDescription)")
        }
    }

    /// The fingerprint of a model folder: whole JSON files, and name, size and header of every
    /// safetensors file.
    ///
    /// Weights themselves are not read, so it takes milliseconds.
    package static func ofModel(_ folder: String) throws(ClusterError) -> String {
        do {
            let root = URL(filePath: folder)
            var fingerprint = Fingerprint()
            let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            guard names.contains("config.json") else {
                throw ClusterError.badInput("\(folder) holds no config.json: not a model folder")
            }
            for name in names {
                let file = root.appending(path: name)
                if name.hasSuffix(".json") {
                    fingerprint.add(name)
                    fingerprint.add(try Data(contentsOf: file))
                } else if name.hasSuffix(".safetensors"), name != expectedResults {
                    fingerprint.add(name)
                    try fingerprint.addHeader(of: file)
                }
            }
            return fingerprint.text
        } catch let error as ClusterError {
            throw error
        } catch {
            throw .badInput("\(folder): \(error.localizedDescription)")
        }
    }

    /// Test results that some model folders carry beside their weights; not part of the model.
    private static let expectedResults = "expected.safetensors"

    /// A header says where every tensor lies; a mebibyte of it holds some 8000 tensors.
    private static let headerBytes = 1 << 20

    private mutating func addHeader(of file: URL) throws {
        let handle = try FileHandle(forReadingFrom: file)
        defer { try? handle.close() }
        let size = try handle.seekToEnd()
        try handle.seek(toOffset: 0)
        add("\(size)")
        // The first 8 bytes are the header's length, little-endian.
        let prefix = try handle.read(upToCount: 8) ?? Data()
        let length = prefix.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        add(prefix)
        add(try handle.read(upToCount: min(Int(clamping: length), Self.headerBytes)) ?? Data())
    }
}
