import Encoding
public import Foundation
public import Topology

/// What coordinator and workers must agree on before they work together.
public struct JobIdentity: Hashable, Codable, Sendable {
    /// The version of the frames on the control plane.
    public var protocolVersion: Int
    /// The release, as `apus --version` prints it.
    public var version: String
    /// The program: a digest of `apus-worker`.
    public var build: String
    /// The model folder: configuration, tokenizer and the headers of its weights.
    public var modelDigest: String
    /// The resolved job, less what may differ from node to node.
    public var configDigest: String

    /// States what this process is about to run.
    public init(
        protocolVersion: Int = ControlProtocol.version, version: String = ApusVersion.current,
        build: String, modelDigest: String, configDigest: String
    ) {
        self.protocolVersion = protocolVersion
        self.version = version
        self.build = build
        self.modelDigest = modelDigest
        self.configDigest = configDigest
    }

    /// The first field in which a worker differs from the coordinator, as a sentence; nil if none.
    public func difference(from worker: JobIdentity) -> String? {
        let fields = [
            ("protocol version", "\(protocolVersion)", "\(worker.protocolVersion)"),
            ("version", version, worker.version),
            ("build", build, worker.build),
            ("model digest", modelDigest, worker.modelDigest),
            ("config digest", configDigest, worker.configDigest),
        ]
        guard let (name, ours, theirs) = fields.first(where: { $0.1 != $0.2 }) else { return nil }
        return "\(name) differs: the coordinator has \(ours), the worker has \(theirs)"
    }
}

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
    public static func ofFile(_ path: String) throws(ClusterError) -> String {
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
    public static func ofModel(_ folder: String) throws(ClusterError) -> String {
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
