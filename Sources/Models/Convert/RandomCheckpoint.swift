public import Checkpoints
import Encoding
import Foundation
import Language
public import Tensors

/// Makes a checkpoint of random weights, of any shape: for benchmarks, and for tests that need a
/// model larger than can be kept.
public struct RandomCheckpoint: Sendable {
    /// How projections are stored.
    public enum Format: String, Sendable, CaseIterable {
        case bfloat16 = "bf16"
        /// e4m3 with 128x128 scales, of the same values rounded to bf16: what `convert --to fp8`
        /// makes of the bf16 checkpoint.
        case float8 = "fp8"
        /// Routed experts in 4 bits as `convert --to int4` makes them; or what the configuration's
        /// own `quantization_config` says, if it is of that format.
        case int4
        /// The same as `convert --to mxfp4`; of gpt-oss, the blocks that it is released in.
        case mxfp4

        /// The format that a configuration describes.
        package init(of configuration: ModelConfiguration) {
            self =
                switch configuration.quantization?.form {
                case nil: .bfloat16
                case .float8: .float8
                case .int4: .int4
                case .mxfp4, .mxfp4Blocks: .mxfp4
                }
        }
    }

    /// Bytes of a file at most, unless one tensor is larger.
    private static let shardBytes = 4_000_000_000
    /// Standard deviation of matrices where `config.json` gives no `initializer_range`.
    private static let defaultRange: Float = 0.02
    /// Standard deviation of biases. The gate's shifts choices without fixing them.
    private static let biasRange: Float = 0.01

    private let tensors: [NetworkTensor]
    private let configurationText: String
    private let range: Float
    private let random: CounterRandom
    private let quantization: Quantization?
    /// Names of what is added to outputs.
    private let offsets: Set<String>
    /// How each tensor that is not stored plainly is, by the name of its numbers.
    private let encoded: [String: (tensor: NetworkTensor, form: Quantization.Form)]

    /// - Parameters:
    ///   - configurationFile: A `config.json`.
    ///   - seed: The same seed gives the same bytes.
    public init(configurationFile: String, seed: UInt64, format: Format) throws {
        let data = try WholeFile.read(configurationFile, limit: ModelConfiguration.byteLimit) {
            CheckpointError.file(configurationFile, fact: "\($0)")
        }
        let configuration = try ModelConfiguration.parse(data, file: configurationFile)
        tensors = NetworkTensors(configuration).all
        offsets = Set(tensors.lazy.filter { $0.role == .offset }.map(\.name))
        do { quantization = try Self.quantization(format, of: configuration) } catch {
            throw CheckpointError.file(configurationFile, fact: "\(error)")
        }
        encoded = try Self.encoded(tensors, quantization, file: configurationFile)
        configurationText = try FormatConversion.configuration(
            [UInt8](data), quantization: quantization, file: configurationFile)
        var reader = JSONReader([UInt8](data))
        let given = try reader.value()["initializer_range"]?.double
        range =
            given.map { Float($0) }.flatMap { $0 > 0 && $0 < 10 ? $0 : nil }
            ?? Self.defaultRange
        random = CounterRandom(seed: seed)
    }

    /// How the matrices of a network are stored in a format; nil for plain numbers.
    ///
    /// - Throws: `ModelError` where the family is not stored so.
    static func quantization(
        _ format: Format, of configuration: ModelConfiguration
    ) throws -> Quantization? {
        let isFused = configuration.architecture.tensorNames.fused != nil
        guard !isFused || format == .bfloat16 || format == .mxfp4 else {
            throw ModelError.request(
                "\(configuration.architectures[0]) is not written in \(format.rawValue); "
                    + "taken are mxfp4 and bf16")
        }
        if isFused { return format == .mxfp4 ? .blocks : nil }
        let form: Quantization.Form
        switch format {
        case .bfloat16: return nil
        case .float8: return Quantization()
        case .int4: form = .int4
        case .mxfp4: form = .mxfp4
        }
        if let given = configuration.quantization, given.form == form { return given }
        let names = NetworkTensors(configuration).all.map(\.name).filter(Architectures.isLinear)
            .sorted()
        let experts = names.filter(Architectures.isExpertProjection)
        return try Quantization(
            form, of: experts.map(NetworkTensor.module),
            besides: names.filter { !Architectures.isExpertProjection($0) }
                .map(NetworkTensor.module))
    }

    private static func encoded(
        _ tensors: [NetworkTensor], _ quantization: Quantization?, file: String
    ) throws -> [String: (tensor: NetworkTensor, form: Quantization.Form)] {
        var encoded: [String: (tensor: NetworkTensor, form: Quantization.Form)] = [:]
        for tensor in tensors {
            guard let form = quantization?.form(of: tensor) else { continue }
            let multiple = form.numbers.inputMultiple
            guard tensor.shape[1].isMultiple(of: multiple) else {
                throw CheckpointError.file(
                    file,
                    fact: "makes \(tensor.name) \(tensor.shape); \(multiple) inputs share a scale")
            }
            encoded[tensor.stored(as: form)[0].name] = (tensor, form)
        }
        return encoded
    }

    /// Bytes of tensors that `write` will write.
    public var byteCount: Int {
        shards.reduce(0) { $0 + $1.tensors.reduce(0) { $0 + $1.byteCount } }
    }

    private var shards: [OutputShard] {
        var groups: [[OutputTensor]] = [[]]
        var size = 0
        for tensor in tensors {
            let stored = tensor.stored(quantization)
            let bytes = stored.reduce(0) { $0 + $1.byteCount }
            if size + bytes > Self.shardBytes && size > 0 {
                groups.append([])
                size = 0
            }
            groups[groups.count - 1] += stored
            size += bytes
        }
        guard groups.count > 1 else {
            return [OutputShard(file: "model.safetensors", tensors: groups[0])]
        }
        func number(_ value: Int) -> String {
            String(repeating: "0", count: max(0, 5 - "\(value)".count)) + "\(value)"
        }
        return groups.enumerated().map { index, tensors in
            let file = "model-\(number(index + 1))-of-\(number(groups.count)).safetensors"
            return OutputShard(file: file, tensors: tensors)
        }
    }

    /// Writes the checkpoint into the new folder `directory`.
    public func write(
        to directory: String, pool: ThreadPool, progress: ((LoadProgress) -> Void)? = nil
    ) throws {
        let shards = shards
        let writer = try CheckpointWriter(directory: directory)
        do {
            let derived = derived
            try writer.writeShards(
                shards, pool: pool, progress: progress,
                derived: { derived.contains($0.name) }, encode: encode)
            if shards.count > 1 { try writer.writeIndex(shards) }
            try writer.write(configurationText, to: "config.json")
            try writer.commit()
        } catch { throw writer.abandon(after: error) }
    }

    /// Tensors whose bytes come with another's.
    private var derived: Set<String> {
        Set(encoded.values.flatMap { $0.tensor.stored(as: $0.form).dropFirst().map(\.name) })
    }

    private func encode(
        _ tensor: OutputTensor, _ rows: Range<Int>
    ) throws -> [CheckpointWriter.Piece] {
        if let (matrix, form) = encoded[tensor.name] {
            // A row of all experts' tensor is an expert, with as many rows as outputs.
            let outputs = matrix.role == .fused ? matrix.shape[2] : 1
            let first = rows.lowerBound * outputs
            let values = Tensor(rows: rows.count * outputs, columns: matrix.shape[1])
            fill(values, matrix.name, first: first * matrix.shape[1], range)
            var span = values.mutableSpan
            for index in 0 ..< span.count {
                span[index] = Quantisation.bfloat16(Quantisation.bfloat16(nearest: span[index]))
            }
            return try EncodedMatrix(
                values, of: matrix.name, shape: matrix.shape, from: first, as: form,
                file: "random values"
            ).pieces
        }
        let values = Tensor(rows: rows.count, columns: tensor.columns)
        let isOffset = offsets.contains(tensor.name)
        if tensor.shape.count == 1 && tensor.type == .bfloat16 && !isOffset {
            values.fill(1)
        } else {
            let scale = isOffset || tensor.shape.count == 1 ? Self.biasRange : range
            fill(values, tensor.name, first: rows.lowerBound * tensor.columns, scale)
        }
        let offset = rows.lowerBound * tensor.columns * tensor.type.byteCount
        guard tensor.type == .float32 else {
            return [
                .init(
                    name: tensor.name, offset: offset,
                    bytes: Quantisation.bfloat16Bytes(values.span))
            ]
        }
        let bytes = values.values.flatMap { value in
            (0 ..< 4).map { UInt8(truncatingIfNeeded: value.bitPattern >> ($0 * 8)) }
        }
        return [.init(name: tensor.name, offset: offset, bytes: bytes)]
    }

    /// Fills with values of a bell curve: the sum of four uniform numbers of 16 bits, cut from one
    /// draw, has the variance of 4/12 of their squared range.
    private func fill(_ values: Tensor, _ name: String, first: Int, _ deviation: Float) {
        let key = random.bits(Int(truncatingIfNeeded: FNV1a.hash(name.utf8)), .weight)
        let unit = deviation / 37837.23
        var span = values.mutableSpan
        for index in 0 ..< span.count {
            let counter = UInt64(truncatingIfNeeded: first + index)
            let bits = SplitMix64.mix(key &+ counter &* 0x9E37_79B9_7F4A_7C15)
            let sum =
                Int32(truncatingIfNeeded: bits & 0xFFFF)
                &+ Int32(truncatingIfNeeded: bits >> 16 & 0xFFFF)
                &+ Int32(truncatingIfNeeded: bits >> 32 & 0xFFFF)
                &+ Int32(truncatingIfNeeded: bits >> 48)
            span[index] = Float(sum &- 131070) * unit
        }
    }
}
