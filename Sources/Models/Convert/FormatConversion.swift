public import Checkpoints
import Encoding
import Foundation
public import Tensors

/// Rewrites a checkpoint in another number format, keeping its shards' names.
///
/// Matrices of any form that is read are widened to Float32 and rounded once.
public struct FormatConversion: Sendable {
    /// What matrices become.
    public enum Target: String, Sendable, CaseIterable {
        /// All of them plain numbers.
        case bfloat16 = "bf16"
        /// The projections DeepSeek stores as e4m3 (not embedding, head, norms, gate, `eh_proj`)
        /// become that: scale max|block| / 448, round to nearest even.
        case float8 = "fp8"
        /// Routed experts become int4 with a bf16 scale per 32 inputs: `pack-quantized`.
        case int4
        /// Routed experts become e2m1 with a power of two per 32 inputs: `mxfp4-pack-quantized`.
        case mxfp4

        var form: Quantization.Form? {
            switch self {
            case .bfloat16: nil
            case .float8: .float8
            case .int4: .int4
            case .mxfp4: .mxfp4
            }
        }
    }

    private let target: Target
    private let only: [NamePattern]

    /// - Parameter only: The modules to convert, by name or as `re:` and a regular expression, in
    ///   place of the target's own choice.
    /// - Throws: `ModelError` for an expression that is not read, and for bf16, which takes none.
    public init(to target: Target, only: [String] = []) throws {
        guard target != .bfloat16 || only.isEmpty else {
            throw ModelError.request("bf16 takes every matrix; modules are chosen for the others")
        }
        self.target = target
        do { self.only = try only.map { try NamePattern($0) } } catch let error
            as ModelConfiguration.Refusal
        {
            throw ModelError.request(error.fact)
        }
    }

    /// Converts the checkpoint in `source` into the new folder `target`.
    ///
    /// Memory: a strip of 4 Mi values per thread, whatever the checkpoint's size.
    ///
    /// - Parameters:
    ///   - note: Told what named modules stay as they are.
    ///   - report: What rounding did to each matrix; called by one thread at a time.
    /// - Throws: `CheckpointError` that names the file or the tensor, `ModelError` for a module
    ///   that names nothing to convert; then `target` does not exist.
    public func run(
        source: String, target: String, pool: ThreadPool,
        progress: ((LoadProgress) -> Void)? = nil,
        note: (String) -> Void = { _ in },
        report: @escaping @Sendable (RoundingError) -> Void = { _ in }
    ) throws {
        let path = source + "/config.json"
        let json = try WholeFile.read(path, limit: ModelConfiguration.byteLimit) {
            CheckpointError.file(path, fact: "\($0)")
        }
        // Says what is wrong with the present one before anything is read.
        _ = try Self.configuration([UInt8](json), quantization: nil, file: path)
        try Self.refuseFused(json, file: path)
        try ModelConfiguration.checkQuantization(directory: source)
        let checkpoint = try Checkpoint(directory: source)
        try checkpoint.requireWhole()
        try Self.checkFourBits(json, file: path, checkpoint)
        let choice = MatrixChoice(target: self.target, only: only)
        try choice.check(checkpoint, note: note)
        let plan = try ConversionPlan(
            checkpoint, to: self.target.form, includes: choice.includes)
        let configuration = try Self.configuration(
            [UInt8](json), quantization: plan.quantization, file: path)
        let writer = try CheckpointWriter(directory: target)
        let errors = RoundingErrors(report)
        do {
            try writer.writeShards(
                plan.shards, pool: pool, progress: progress,
                derived: { plan.derived.contains($0.name) },
                encode: { try plan.encode($0, $1, checkpoint, errors) })
            let hasIndex = plan.shards.count > 1 || plan.shards[0].file != "model.safetensors"
            if hasIndex { try writer.writeIndex(plan.shards) }
            try writer.write(configuration, to: "config.json")
            for file in try otherFiles(source, plan.shards) { try writer.copy(file, from: source) }
            try writer.commit()
        } catch { throw writer.abandon(after: error) }
    }

    /// Checks that `config.json` and the shards say the same of matrices in 4 bits, if there are
    /// any: the check that opening a folder to run it makes.
    private static func checkFourBits(
        _ json: Data, file: String, _ checkpoint: Checkpoint
    ) throws {
        let hasCodes = checkpoint.tensors.keys.contains {
            FourBitMatrix.matrixName(ofCodes: $0) != nil
        }
        guard hasCodes else { return }
        let configuration = try ModelConfiguration.parse(json, file: file)
        try ModelFolder.checkFourBits(configuration, checkpoint)
    }

    /// Refuses a family whose experts lie in tensors of all of a block.
    private static func refuseFused(_ json: Data, file: String) throws {
        guard let family = Architectures.fused(in: try ConfigurationText(json, file: file).root)
        else { return }
        throw ModelError.configuration(
            file: file, key: ModelConfiguration.CodingKeys.architectures.rawValue,
            fact: "\(family.classNames[0]) has all experts of a block in one tensor, of which no "
                + "other format is written; its folders are run as they are")
    }

    // MARK: - Beside the tensors

    /// `config.json` with or without `quantization_config`, everything else as it is.
    ///
    /// - Parameter quantization: What it will say, nil for nothing.
    static func configuration(
        _ json: [UInt8], quantization: Quantization?, file: String
    ) throws -> String {
        let root: JSONValue
        do {
            var reader = JSONReader(json)
            root = try reader.value()
            guard root.object != nil else { throw reader.malformed("an object") }
            try reader.end()
        } catch { throw CheckpointError.file(file, fact: "\(error)") }
        let isFused = Architectures.fused(in: root) != nil
        // Where the keys of the network stand apart, its quantisation stands with them.
        let textKey = ModelConfiguration.CodingKeys.text.rawValue
        let isNested = root[textKey]?.object != nil
        for (prefix, part) in [("", root), (textKey + ".", root[textKey] ?? .null)] {
            do {
                try QuantizationKeys.check(besides: part, prefix: prefix, isFused: isFused)
            } catch let error as ModelConfiguration.Refusal {
                throw ModelError.configuration(file: file, key: error.key, fact: error.fact)
            }
        }
        var members = edited(root, isNested ? nil : quantization)
        for index in members.indices where isNested && members[index].key == textKey {
            members[index].value = .object(edited(members[index].value, quantization))
        }
        let text = JSONValue.object(members).encoded(indent: 2) + "\n"
        let limit = ModelConfiguration.byteLimit
        guard text.utf8.count <= limit else {
            throw CheckpointError.file(
                file,
                fact: "would have \(text.utf8.count) bytes as it is written, with the names of all "
                    + "modules that are quantised or are not; the limit is \(limit)")
        }
        return text
    }

    /// The members of an object with a description of quantised weights, or without any.
    private static func edited(
        _ object: JSONValue, _ quantization: Quantization?
    ) -> [(key: String, value: JSONValue)] {
        let members = (object.object ?? []).filter { !QuantizationKeys.keys.contains($0.key) }
        return members + (quantization.map { [("quantization_config", $0.published)] } ?? [])
    }

    /// The tokenizer and whatever else lies beside the shards.
    private func otherFiles(_ source: String, _ shards: [OutputShard]) throws -> [String] {
        let written = Set(shards.map(\.file) + ["config.json", "model.safetensors.index.json"])
        return try FileManager.default.contentsOfDirectory(atPath: source).filter { file in
            let path = source + "/" + file
            let type = try FileManager.default.attributesOfItem(atPath: path)[.type]
            return !written.contains(file) && !file.hasSuffix(".safetensors")
                && !file.hasPrefix(".") && type as? FileAttributeType == .typeRegular
        }.sorted()
    }
}
