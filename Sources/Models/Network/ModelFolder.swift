public import Checkpoints
import Encoding
import Tensors

/// A checkpoint folder as this program runs it: its shape, its shards, and what people should know
/// of the difference between the folder and what is run.
public struct ModelFolder: Sendable {
    /// The shape, less the MTP blocks that the folder does not hold.
    public let configuration: ModelConfiguration
    /// The opened shards.
    public let checkpoint: Checkpoint
    /// What is in the folder and not used, or announced and not there; one line each.
    public let notes: [String]

    /// Names that a note lists before it counts the others.
    private static let listedNames = 4

    /// Reads `config.json`, then the headers of the shards.
    ///
    /// - Parameter source: Where weights come from that the folder does not hold yet.
    /// - Throws: `ModelError` or `CheckpointError` for what cannot be run, the architecture first.
    public init(directory: String, source: (any PieceSource)? = nil) throws {
        let announced = try ModelConfiguration.load(directory: directory)
        checkpoint = try Checkpoint(directory: directory, source: source)
        configuration = announced.fitted(to: checkpoint)
        try Self.checkFourBits(configuration, checkpoint)
        try Self.checkExperts(configuration, checkpoint)
        try Self.checkFused(configuration, checkpoint)
        try Self.checkIndexers(configuration, checkpoint)
        try Self.checkGroupedQueries(configuration, checkpoint)
        notes =
            Self.absentMTP(announced, configuration) + Self.cappedContext(configuration)
            + Self.unused(configuration, checkpoint)
    }

    /// Checks that `config.json` and the shards say the same of matrices in 4 bits. Nothing is
    /// asked of an MTP block's copies of embedding and head, because they are not read.
    static func checkFourBits(_ shape: ModelConfiguration, _ checkpoint: Checkpoint) throws {
        for tensor in NetworkTensors(shape).all
        where tensor.original == nil && FourBitMatrix.isStored(tensor.name, in: checkpoint) {
            let form = shape.quantization.flatMap { $0.form == .float8 ? nil : $0 }
            let place = try checkpoint.locate(FourBitMatrix.partNames(of: tensor.name)[0])
            func fault(_ fact: String) -> CheckpointError {
                .tensor(
                    file: checkpoint.file(of: place), name: place.entry.name.printable(),
                    fact: fact)
            }
            guard Quantization.mayHaveFourBits(tensor) else {
                throw fault("is in 4 bits; this matrix is read as plain numbers alone")
            }
            guard let form else {
                throw fault(
                    "is in 4 bits; config.json (quantization_config) does not say that, nor how")
            }
            guard form.form(of: tensor) != nil else {
                throw fault(
                    "is in 4 bits; config.json (quantization_config: targets, ignore) makes it "
                        + "plain")
            }
            let numbers = form.form.numbers.rawValue
            guard (place.entry.type == .int32) == (form.form == .int4) else {
                throw fault(
                    "dtype \(place.entry.type.rawValue) is not that of \(numbers), which "
                        + "config.json (quantization_config.format) makes it")
            }
        }
    }

    /// Checks that the experts of a layer have one format where 4 bits are one of them: all of
    /// them, whichever of them a rank loads.
    private static func checkExperts(
        _ shape: ModelConfiguration, _ checkpoint: Checkpoint
    ) throws {
        guard let form = shape.quantization?.form, form == .int4 || form == .mxfp4 else { return }
        let tensors = NetworkTensors(shape)
        for layer in 0 ..< shape.layerCount + shape.mtpLayerCount
        where shape.hasExperts(layer: layer) {
            var first: (name: String, format: NumberFormat)?
            for expert in 0 ..< shape.routedExpertCount {
                for tensor in tensors.routedExpert(expert, layer: layer).all {
                    guard let (place, format) = stored(tensor.name, checkpoint) else { continue }
                    let other = first ?? (name: tensor.name, format: format)
                    first = other
                    guard
                        format == other.format
                            || format.inputMultiple == 1 && other.format.inputMultiple == 1
                    else {
                        throw PendingExpert.fault(
                            file: checkpoint.file(of: place), tensor.name, format,
                            other.name, other.format)
                    }
                }
            }
        }
    }

    /// Checks that `config.json` and the shards say the same of tensors of all experts.
    private static func checkFused(_ shape: ModelConfiguration, _ checkpoint: Checkpoint) throws {
        let isFourBit = shape.quantization?.form == .mxfp4Blocks
        for tensor in NetworkTensors(shape).all where tensor.role == .fused {
            let isStored = FusedMatrix.isFourBit(tensor.name, in: checkpoint)
            let name = isStored ? FusedMatrix.partNames(of: tensor.name)[0] : tensor.name
            guard isStored != isFourBit, let place = checkpoint.tensors[name] else { continue }
            throw CheckpointError.tensor(
                file: checkpoint.file(of: place), name: name,
                fact: isStored
                    ? "is in 4 bits; config.json (quantization_config) does not say that"
                    : "is plain; config.json (quantization_config.quant_method) makes it mxfp4")
        }
    }

    /// Checks that no block that shares a choice holds an indexer: config.json and the shards would
    /// describe two networks.
    private static func checkIndexers(
        _ shape: ModelConfiguration, _ checkpoint: Checkpoint
    ) throws {
        guard shape.indexer?.sharing != nil else { return }
        for layer in 0 ..< shape.layerCount where !shape.hasIndexer(layer: layer) {
            var choosing = shape
            choosing.indexer?.sharing = nil
            let own = Set(NetworkTensors(choosing).attention(layer: layer).map(\.name))
                .subtracting(NetworkTensors(shape).attention(layer: layer).map(\.name))
            guard let name = own.sorted().first(where: { checkpoint.tensors[$0] != nil }),
                let place = checkpoint.tensors[name]
            else { continue }
            throw CheckpointError.tensor(
                file: checkpoint.file(of: place), name: name,
                fact: "belongs to an indexer; config.json (indexer_types) makes block \(layer) "
                    + "share the choice of an earlier one")
        }
    }

    /// Checks that no block holds norms or biases of grouped queries of which config.json says that
    /// there are none: the two would describe two networks.
    private static func checkGroupedQueries(
        _ shape: ModelConfiguration, _ checkpoint: Checkpoint
    ) throws {
        guard shape.keyValueHeadCount != nil else { return }
        var (normed, biased) = (shape, shape)
        normed.queryKeyNorm = shape.queryKeyNorm ?? .head
        biased.hasAttentionBias = true
        let others = [
            (GroupedKey.normsQueries.rawValue, NetworkTensors(normed)),
            (ModelConfiguration.CodingKeys.attentionBias.rawValue, NetworkTensors(biased)),
        ]
        let announced = NetworkTensors(shape)
        for layer in 0 ..< shape.layerCount + shape.mtpLayerCount {
            let known = Set(announced.attention(layer: layer).map(\.name))
            for (key, tensors) in others {
                let own = Set(tensors.attention(layer: layer).map(\.name)).subtracting(known)
                guard let name = own.sorted().first(where: { checkpoint.tensors[$0] != nil }),
                    let place = checkpoint.tensors[name]
                else { continue }
                throw CheckpointError.tensor(
                    file: checkpoint.file(of: place), name: name,
                    fact: "is there; config.json (\(key)) makes block \(layer) attend without it")
            }
        }
    }

    /// Where a matrix is and the format of its numbers; nil for one that loading will refuse.
    private static func stored(
        _ name: String, _ checkpoint: Checkpoint
    ) -> (place: Checkpoint.Located, format: NumberFormat)? {
        if let place = checkpoint.tensors[FourBitMatrix.partNames(of: name)[0]] {
            return (place, place.entry.type == .int32 ? .int4 : .mxfp4)
        }
        guard let place = checkpoint.tensors[name] else { return nil }
        let type = place.entry.type
        let format: NumberFormat? = type == .float8e4m3 ? .float8e4m3 : WeightTypes.vector(type)
        guard let format else { return nil }
        return (place, format)
    }

    private static func counted(_ count: Int, _ noun: String) -> String {
        "\(count) \(noun)\(count == 1 ? "" : "s")"
    }

    /// Makes every check of loading, without packing a matrix.
    public func check() throws {
        try checkpoint.requireWhole()
        let loader = WeightLoader(checkpoint)
        let context = AttentionContext(
            configuration, positions: 1, compute: .float32, pool: ThreadPool(threads: 1))
        let shape = configuration
        _ = try PendingModel(
            context, embedding: EmbeddingTable(checkpoint, shape),
            mtpCount: shape.mtpLayerCount, from: loader
        ) { try Model.experts(shape, nil, layer: $0) }
        _ = try loader.matrix(NetworkTensors(shape).head)
    }

    private static func absentMTP(
        _ announced: ModelConfiguration, _ found: ModelConfiguration
    ) -> [String] {
        guard found.mtpLayerCount < announced.mtpLayerCount else { return [] }
        let prefix = NetworkTensors(found).prefix(layer: found.layerCount + found.mtpLayerCount)
        return [
            "config.json announces \(counted(announced.mtpLayerCount, "MTP block")) "
                + "(num_nextn_predict_layers); the folder holds no tensor \(prefix)*: "
                + (found.mtpLayerCount == 0
                    ? "nothing is drafted" : "\(found.mtpLayerCount) are used")
        ]
    }

    private static func cappedContext(_ shape: ModelConfiguration) -> [String] {
        guard shape.contextLimit < shape.positionLimit else { return [] }
        return [
            "a text has at most \(shape.contextLimit) tokens (index_topk) of "
                + "\(shape.positionLimit) (max_position_embeddings): among these sparse "
                + "attention chooses all, and \(shape.architectures.first ?? "") runs no indexer"
        ]
    }

    /// Names the tensors that nothing asks for, those that the family leaves aside by their part.
    private static func unused(
        _ shape: ModelConfiguration, _ checkpoint: Checkpoint
    ) -> [String] {
        var left = Set(checkpoint.tensors.keys)
        for tensor in NetworkTensors(shape).all {
            left.remove(tensor.name)
            if FourBitMatrix.isStored(tensor.name, in: checkpoint) {
                left.subtract(FourBitMatrix.partNames(of: tensor.name))
            }
            if tensor.role == .fused { left.subtract(FusedMatrix.partNames(of: tensor.name)) }
            guard checkpoint.tensors[tensor.name]?.entry.type == .float8e4m3,
                let scales = BlockScales.name(of: tensor.name, in: checkpoint)
            else { continue }
            left.remove(scales)
        }
        var notes: [String] = []
        for aside in shape.architecture.leftAside {
            let names = left.filter(aside.includes)
            guard !names.isEmpty else { continue }
            left.subtract(names)
            notes.append(
                "\(aside.part) (\(aside.mark)*, \(counted(names.count, "tensor"))) is left aside")
        }
        guard !left.isEmpty else { return notes }
        // A bias that is left out changes the numbers, so it is named first.
        let names = left.sorted { a, b in
            (a.hasSuffix(".bias") ? 0 : 1, a) < (b.hasSuffix(".bias") ? 0 : 1, b)
        }
        let more = names.count - listedNames
        return notes + [
            "\(counted(names.count, "tensor")) not used: "
                + names.prefix(listedNames).map { $0.printable() }.joined(separator: ", ")
                + (more > 0 ? " and \(more) more" : "")
        ]
    }
}

extension ModelConfiguration {
    /// The same without the MTP blocks of which a folder holds no tensor.
    func fitted(to checkpoint: Checkpoint) -> ModelConfiguration {
        var fitted = self
        let tensors = NetworkTensors(self)
        fitted.mtpLayerCount =
            (0 ..< mtpLayerCount).first { number in
                let prefix = tensors.prefix(layer: layerCount + number)
                return !checkpoint.tensors.keys.contains { $0.hasPrefix(prefix) }
            } ?? mtpLayerCount
        return fitted
    }
}
