public import Checkpoints
import Foundation
public import Models
public import Tensors

/// A safetensors file of expected values.
public struct ExpectedTensors {
    private let file: MappedFile
    private let entries: [String: TensorEntry]

    public init(path: String) throws {
        file = try MappedFile(path: path)
        let header = try Checkpoint.readHeader(file)
        entries = Dictionary(uniqueKeysWithValues: header.tensors.map { ($0.name, $0) })
    }

    public func has(_ name: String) -> Bool { entries[name] != nil }

    /// The values of a float tensor, row after row.
    public func floats(_ name: String) throws -> [Float] {
        guard let entry = entries[name] else { throw Missing(name: name) }
        let count = entry.shape.reduce(1, *)
        let tensor = Tensor(rows: 1, columns: count)
        file.withBytes(entry.bytes) { bytes in
            var span = tensor.mutableSpan
            Quantisation.widen(
                bytes, as: entry.type == .bfloat16 ? .bfloat16 : .float32, into: &span)
        }
        return tensor.values
    }

    /// The values of an i32 tensor.
    public func integers(_ name: String) throws -> [Int] {
        guard let entry = entries[name] else { throw Missing(name: name) }
        let bytes = file.copyBytes(entry.bytes)
        return stride(from: 0, to: bytes.count, by: 4).map { start in
            Int(
                Int32(
                    bitPattern: bytes[start ..< start + 4].reversed().reduce(0) {
                        $0 << 8 | UInt32($1)
                    }))
        }
    }

    struct Missing: Error { let name: String }
}

/// A golden checkpoint with its expected values.
public struct Golden: Sendable {
    public static let root = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "../Golden").standardized.path(
            percentEncoded: false)
    public static let stories = URL(filePath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "../../cluster/models/stories-fp8")
        .standardized.path(percentEncoded: false)

    public let configuration: ModelConfiguration
    public let checkpoint: Checkpoint
    public let directory: String

    public init(_ name: String) throws { try self.init(directory: Self.root + "/" + name) }

    public init(directory: String) throws {
        self.directory = directory
        configuration = try ModelConfiguration.load(directory: directory)
        checkpoint = try Checkpoint(directory: directory)
    }

    public func expected(_ file: String = "expected_f32") throws -> ExpectedTensors {
        try ExpectedTensors(path: "\(directory)/\(file).safetensors")
    }

    public func model(compute: Compute = .float32, threads: Int = 2) throws -> Model {
        try Model(
            checkpoint, configuration: configuration, options: ModelOptions(compute: compute),
            pool: ThreadPool(threads: threads))
    }

    public func cache(
        _ format: EntryFormat = .float32, blocks: Int = 12, blockTokens: Int = 16
    ) -> BlockCache {
        BlockCache(
            configuration: configuration, format: format, blockCount: blocks,
            blockTokens: blockTokens)
    }
}

/// The largest difference between two lists, infinite where their lengths or a value forbid one.
public func largestDifference(_ a: some Collection<Float>, _ b: some Collection<Float>) -> Float {
    guard a.count == b.count else { return .infinity }
    return zip(a, b).reduce(0) { worst, pair in
        let difference = abs(pair.0 - pair.1)
        return difference.isNaN ? .infinity : max(worst, difference)
    }
}

/// The index of the largest value, the first of equals.
public func argmax(_ values: some Sequence<Float>) -> Int {
    var best = (index: 0, value: -Float.infinity)
    for (index, value) in values.enumerated() where value > best.value { best = (index, value) }
    return best.index
}
