import Checkpoints
import Foundation
import Tensors

/// What a checkpoint is and weighs, from its `config.json` and, where present, its headers.
public struct ModelSummary: Sendable, Codable, Equatable {
    /// Parameters of the main model, embedding and head included.
    public let totalParameters: Int
    /// Parameters that one token uses.
    public let activatedParameters: Int
    /// Parameters of the multi-token-prediction blocks, shared embedding and head not counted.
    public let mtpParameters: Int
    /// Bytes of the stored tensors by dtype, as safetensors names it.
    public let bytesByType: [String: Int]
    /// Whether `bytesByType` was read from the shards; else it follows from `config.json`.
    public let isMeasured: Bool
    /// Cache of one token, all layers, bfloat16.
    public let cacheBytesPerToken: Int
    /// Bytes of everything that every rank holds.
    package let replicatedBytes: Int
    /// Bytes of one expert number, all its layers.
    package let expertBytes: Int

    /// Bytes of all stored tensors.
    public var totalBytes: Int { bytesByType.values.reduce(0, +) }

    /// What a rank with this many of the routed experts holds.
    public func rankBytes(expertCount: Int) -> Int { replicatedBytes + expertCount * expertBytes }

    /// Summarises a checkpoint folder, which may hold `config.json` alone.
    ///
    /// - Throws: `CheckpointError` for a configuration or a header that is wrong.
    public init(directory: String, configuration: ModelConfiguration) throws {
        let tensors = NetworkTensors(configuration)
        (totalParameters, activatedParameters) = configuration.parameterCounts
        mtpParameters = tensors.ofMTP.reduce(0) { $0 + ($1.original == nil ? $1.elementCount : 0) }
        cacheBytesPerToken =
            configuration.tokenBytes(layers: 0 ..< configuration.layerCount, format: .bfloat16)

        let files = FileManager.default
        isMeasured = ["model.safetensors", "model.safetensors.index.json"].contains {
            files.fileExists(atPath: directory + "/" + $0)
        }
        let stored: [OutputTensor]
        if isMeasured {
            stored = try Checkpoint(directory: directory).tensors.values.map {
                OutputTensor(name: $0.entry.name, type: $0.entry.type, shape: $0.entry.shape)
            }
        } else {
            stored = tensors.all.flatMap { $0.stored(configuration.quantization) }
        }
        var bytesByType: [String: Int] = [:]
        var expertTotal = 0
        let names = configuration.architecture.tensorNames
        for tensor in stored {
            bytesByType[tensor.type.rawValue, default: 0] += tensor.byteCount
            if names.isRoutedExpert(tensor.name) { expertTotal += tensor.byteCount }
        }
        self.bytesByType = bytesByType
        expertBytes = expertTotal / configuration.routedExpertCount
        replicatedBytes = bytesByType.values.reduce(0, +) - expertTotal
    }
}
