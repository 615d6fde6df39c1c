import Encoding
import Foundation

extension Fingerprint {
    /// The fingerprint of a file.
    static func ofFile(_ path: String) throws(ClusterError) -> String {
        do {
            var fingerprint = Fingerprint()
            fingerprint.add(
                try Data(contentsOf: URL(filePath: path), options: .mappedIfSafe))
            return fingerprint.text
        } catch {
            throw .badInput("\(path): \(error.localizedDescription)")
        }
    }

    /// A fingerprint of each file of a model folder: of whole JSON files, and of size and header of
    /// safetensors files.
    ///
    /// Weights themselves are not read, so it takes milliseconds.
    static func ofModel(_ folder: String) throws(ClusterError) -> [String: String] {
        do {
            let root = URL(filePath: folder)
            let names = try FileManager.default.contentsOfDirectory(atPath: folder)
            guard names.contains("config.json") else {
                throw ClusterError.badInput("\(folder) holds no config.json: not a model folder")
            }
            var files: [String: String] = [:]
            for name in names {
                var fingerprint = Fingerprint()
                if name.hasSuffix(".json") {
                    fingerprint.add(try Data(contentsOf: root.appending(path: name)))
                } else if name.hasSuffix(".safetensors"), name != expectedResults {
                    try fingerprint.addHeader(of: root.appending(path: name))
                } else {
                    continue
                }
                files[name] = fingerprint.text
            }
            return files
        } catch let error as ClusterError {
            throw error
        } catch {
            throw .badInput("\(folder): \(error.localizedDescription)")
        }
    }

    /// Test results that some model folders carry beside their weights; not part of the model.
    static let expectedResults = "expected.safetensors"

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
