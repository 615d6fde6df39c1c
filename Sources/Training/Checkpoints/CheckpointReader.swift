import Checkpoints
import Foundation
import Tensors

/// Reads tensors by name from every safetensors file of a folder.
struct CheckpointReader {
    private let directory: String
    private var places: [String: (file: MappedFile, entry: TensorEntry)] = [:]

    init(directory: String) throws {
        self.directory = directory
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: directory) else {
            throw TrainingError.checkpoint(directory, fact: "is no folder that can be read")
        }
        let files = names.filter { $0.hasSuffix(".safetensors") }.sorted()
        guard !files.isEmpty else {
            throw TrainingError.checkpoint(directory, fact: "has no safetensors file")
        }
        // A run's own folder says how many ranks have left a file each.
        if names.contains("state.json") {
            let state = try TrainingCheckpoint.state(in: directory)
            let own = (0 ..< state.rankCount).map { "rank-\($0).safetensors" }
            if let missing = own.first(where: { !files.contains($0) }) {
                throw TrainingError.checkpoint(
                    directory, fact: "\(missing) of \(state.rankCount) ranks is missing")
            }
        }
        for name in files {
            let file = try MappedFile(path: directory + "/" + name)
            for entry in try Checkpoint.readHeader(file).tensors {
                places[entry.name] = (file, entry)
            }
        }
    }

    /// All names.
    var names: [String] { places.keys.sorted() }

    func shape(_ name: String) -> [Int]? { places[name]?.entry.shape }

    /// Widens a tensor into one of the same number of values; e4m3 with its block scales.
    func read(_ name: String, into tensor: Tensor) throws {
        guard let (file, entry) = places[name] else {
            throw TrainingError.checkpoint(directory, fact: "\(name) is missing")
        }
        let count = entry.shape.reduce(1, *)
        let isMatrix = tensor.rows > 1 || entry.shape.count > 1
        guard count == tensor.count, !isMatrix || entry.shape == [tensor.rows, tensor.columns]
        else {
            throw TrainingError.checkpoint(
                directory,
                fact:
                    "\(name) is \(entry.shape): the model needs [\(tensor.rows), \(tensor.columns)]"
            )
        }
        switch entry.type {
        case .float32, .float16, .bfloat16:
            let format = WeightTypes.vector(entry.type) ?? .float32
            file.withBytes(entry.bytes) { bytes in
                var span = tensor.mutableSpan
                Quantisation.widen(bytes, as: format, into: &span)
            }
        case .float8e4m3:
            let scales = Tensor(
                rows: (tensor.rows + 127) / 128, columns: (tensor.columns + 127) / 128)
            try read(name + OutputTensor.scaleSuffix, into: scales)
            file.withBytes(entry.bytes) {
                Quantisation.fromFloat8($0, scales: scales.values, into: tensor)
            }
        default:
            throw TrainingError.checkpoint(directory, fact: "\(name) is \(entry.type.rawValue)")
        }
    }

    /// A parameter's moments, put together from the parts that ranks stored.
    func moments(_ kind: String, of name: String, count: Int) throws -> [UInt16] {
        var result = [UInt16](repeating: 0, count: count)
        var found = 0
        for (key, place) in places where key.hasPrefix(kind + ".") && key.hasSuffix("." + name) {
            let middle = key.dropFirst(kind.count + 1).dropLast(name.count + 1)
            guard let start = Int(middle) else { continue }
            let bytes = place.file.copyBytes(place.entry.bytes)
            guard start >= 0, bytes.count / 2 <= count, start <= count - bytes.count / 2 else {
                throw TrainingError.checkpoint(directory, fact: "\(key) is out of range")
            }
            for index in 0 ..< bytes.count / 2 {
                result[start + index] = UInt16(bytes[2 * index]) | UInt16(bytes[2 * index + 1]) << 8
            }
            found += bytes.count / 2
        }
        guard found == count else {
            throw TrainingError.checkpoint(
                directory, fact: "\(found) of \(count) moments of \(name) are there")
        }
        return result
    }

    /// Whether the run kept a moving average of a parameter.
    func hasAverage(of name: String) -> Bool {
        places.keys.contains { Self.start(of: "average", $0, name) != nil }
    }

    /// A parameter's moving average, put together from the parts that ranks stored.
    func readAverage(of name: String, into tensor: Tensor) throws {
        var found = 0
        for key in names {
            guard let start = Self.start(of: "average", key, name),
                let count = shape(key)?.reduce(1, *)
            else { continue }
            guard start >= 0, start + count <= tensor.count else {
                throw TrainingError.checkpoint(directory, fact: "\(key) is out of range")
            }
            let part = Tensor(rows: 1, columns: count)
            try read(key, into: part)
            flat(tensor, start ..< start + count).copy(from: part)
            found += count
        }
        guard found == tensor.count else {
            throw TrainingError.checkpoint(
                directory, fact: "\(found) of \(tensor.count) averages of \(name) are there")
        }
    }

    /// Where a stored part begins: `KIND.START.NAME`.
    private static func start(of kind: String, _ key: String, _ name: String) -> Int? {
        guard key.hasPrefix(kind + "."), key.hasSuffix("." + name) else { return nil }
        return Int(key.dropFirst(kind.count + 1).dropLast(name.count + 1))
    }
}
