import Encoding
import Foundation
public import Tensors

/// A Hugging Face checkpoint folder: shards of safetensors, mapped, and found by tensor name.
///
/// Opening reads the headers alone. A tensor's bytes are read when they are used, so a rank
/// that asks only for its own experts reads only those.
public final class Checkpoint: Sendable {
    /// A tensor and the shard it lies in.
    public struct Located: Sendable {
        /// Which shard, in the order of `shards`.
        public let shardIndex: Int
        /// The tensor.
        public let entry: TensorEntry
    }

    /// The folder.
    public let directory: String
    /// The mapped files, sorted by name.
    public let shards: [MappedFile]
    /// Every tensor by name.
    public let tensors: [String: Located]
    /// Of a folder that holds a part of its checkpoint.
    private let part: PartialFolder?

    /// Maps the shards that the index names, or the only `model.safetensors`.
    ///
    /// - Parameter source: Where bytes come from that were not received yet, in a folder that
    ///   `WeightCache` made; nil where they cannot come.
    public init(directory: String, source: (any PieceSource)? = nil) throws {
        self.directory = directory
        part = PartialFolder(directory, source: source)
        let indexPath = directory + "/model.safetensors.index.json"
        var promised: [String: String]?
        var names = ["model.safetensors"]
        if FileManager.default.fileExists(atPath: indexPath) {
            let map = try Self.readIndex(indexPath)
            names = Set(map.values).sorted()
            promised = map
        } else if !FileManager.default.fileExists(atPath: directory + "/" + names[0]) {
            throw Self.noWeights(directory)
        }
        shards = try names.map { name in
            do { return try MappedFile(path: directory + "/" + name) } catch {
                let origin = promised == nil ? "" : " (named by model.safetensors.index.json)"
                throw CheckpointError.file(name, fact: "\(error)\(origin)")
            }
        }
        var found: [String: Located] = [:]
        for (index, shard) in shards.enumerated() {
            for entry in try Self.readHeader(shard).tensors {
                if let other = found.updateValue(
                    Located(shardIndex: index, entry: entry), forKey: entry.name)
                {
                    throw CheckpointError.tensor(
                        file: shard.path, name: entry.name.printable(),
                        fact: "is also in \(names[other.shardIndex])")
                }
            }
        }
        for (name, file) in (promised ?? [:]).sorted(by: { $0.key < $1.key }) {
            guard let place = found[name], names[place.shardIndex] == file else {
                throw CheckpointError.tensor(
                    file: indexPath, name: name.printable(),
                    fact: "is not in \(file), where weight_map puts it")
            }
        }
        tensors = found
    }

    /// Reads `weight_map` of an index: which file holds each tensor.
    private static func readIndex(_ path: String) throws -> [String: String] {
        let file = try MappedFile(path: path)
        guard file.byteCount <= CheckpointIndex.byteLimit else {
            throw CheckpointError.file(
                path,
                fact: "\(file.byteCount) bytes; an index has at most \(CheckpointIndex.byteLimit)")
        }
        return try CheckpointIndex.parse(file.readBytes(0 ..< file.byteCount), file: path)
    }

    /// Parses the header of one mapped file.
    public static func readHeader(_ file: MappedFile) throws -> SafetensorsHeader {
        let prefix = try file.readBytes(0 ..< min(8, file.byteCount))
        let length = try SafetensorsHeader.length(
            prefix: prefix, fileBytes: file.byteCount, file: file.path)
        let json = try file.readBytes(8 ..< 8 + length)
        return try SafetensorsHeader(json: json, fileBytes: file.byteCount, file: file.path)
    }

    /// Whether the folder holds all of its checkpoint.
    public var isWhole: Bool { part == nil }

    /// Refuses a folder that holds a part of its checkpoint, for work that reads all of it.
    public func requireWhole() throws {
        guard isWhole else {
            throw CheckpointError.file(
                directory,
                fact: "holds the part of a checkpoint that ranks of a job received "
                    + "(\(ArrivalRecord.name)); name a folder that holds all of it")
        }
    }

    /// Makes sure that all bytes of a tensor are here, before they are read through the mapping.
    ///
    /// - Throws: `CheckpointError` that names the tensor where they are not and cannot come.
    public func require(_ located: Located) throws {
        try require([(located, located.entry.bytes)])
    }

    /// The same of some bytes of tensors, counted from the start of their files.
    func require(_ wanted: [(place: Located, bytes: Range<Int>)]) throws {
        try part?.require(
            wanted.map {
                PartialFolder.Wanted(
                    shard: shards[$0.place.shardIndex], entry: $0.place.entry, bytes: $0.bytes)
            })
    }

    /// Finds a tensor, or says that the checkpoint lacks it.
    public func locate(_ name: String) throws -> Located {
        guard let located = tensors[name] else { throw missing(name) }
        return located
    }

    /// Gives a tensor's bytes to `body`.
    public func withBytes<Result>(
        of located: Located, _ body: (RawSpan) throws -> Result
    ) rethrows -> Result {
        try shards[located.shardIndex].withBytes(located.entry.bytes, body)
    }

    /// A copy of a tensor's bytes, for small ones: no page of the file stays in this process.
    ///
    /// - Throws: `CheckpointError` that names the tensor if the system refuses the bytes.
    public func readBytes(of located: Located) throws -> [UInt8] {
        try readBytes(of: located, 0 ..< located.entry.bytes.count)
    }

    /// The same of some of its bytes.
    func readBytes(of located: Located, _ range: Range<Int>) throws -> [UInt8] {
        let first = located.entry.bytes.lowerBound
        let bytes = first + range.lowerBound ..< first + range.upperBound
        try require([(located, bytes)])
        do { return try shards[located.shardIndex].readBytes(bytes) } catch {
            throw CheckpointError.tensor(
                file: file(of: located), name: located.entry.name,
                fact: "\(error.call): \(error.reason)")
        }
    }

    /// The name of the file that holds a tensor, for messages.
    public func file(of located: Located) -> String { shards[located.shardIndex].path }
}
