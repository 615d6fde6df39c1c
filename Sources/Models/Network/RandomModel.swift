package import Checkpoints
package import Tensors
import Topology

/// A network of random weights in memory, of which nothing is on a disk: one rank's share of the
/// routed experts and everything else.
package struct RandomModel {
    /// The network, or the part of one that is made.
    package let configuration: ModelConfiguration
    /// How each matrix is stored that is not bfloat16.
    private let quantization: Quantization?
    private let rankCount: Int
    private let seed: UInt64

    /// - Parameters:
    ///   - rankCount: Ranks that share the experts evenly.
    ///   - seed: The same seed gives the same weights.
    /// - Throws: `ModelError` where the family is not stored in this format.
    package init(
        _ configuration: ModelConfiguration, format: RandomCheckpoint.Format, rankCount: Int,
        seed: UInt64
    ) throws {
        self.configuration = configuration
        quantization = try RandomCheckpoint.quantization(format, of: configuration)
        self.rankCount = rankCount
        self.seed = seed
    }

    private var tensors: NetworkTensors { NetworkTensors(configuration) }

    private func format(of tensor: NetworkTensor) -> NumberFormat {
        quantization?.form(of: tensor)?.numbers ?? .bfloat16
    }

    /// Bytes of a tensor's numbers with their scales, as they are packed.
    private func byteCount(of tensor: NetworkTensor) -> Int {
        let format = format(of: tensor)
        let numbers = format.byteCount(of: tensor.elementCount)
        switch format {
        case .float8e4m3: return numbers + numbers / 2048
        case .int4, .mxfp4: return numbers + tensor.elementCount / 16
        case .float32, .bfloat16, .int8, .float16: return numbers
        }
    }

    /// Bytes of a block's packed weights on one rank, without those of the last panel's padding.
    package func weightBytes(layer: Int) -> Int {
        var all = tensors.attention(layer: layer)
        guard configuration.hasExperts(layer: layer) else {
            all += tensors.dense(layer: layer).all
            return all.reduce(0) { $0 + byteCount(of: $1) }
        }
        all.append(tensors.gate(layer: layer))
        all += tensors.sharedExperts(layer: layer)?.all ?? []
        let held = configuration.routedExpertCount / rankCount
        let experts =
            if let fused = tensors.fusedExperts(layer: layer) {
                fused.all.reduce(0) { $0 + byteCount(of: $1) } / rankCount
            } else {
                tensors.routedExpert(0, layer: layer).all.reduce(0) { $0 + byteCount(of: $1) }
                    * held
            }
        return all.reduce(experts) { $0 + byteCount(of: $1) }
    }

    /// Bytes of the head.
    package var headBytes: Int { byteCount(of: tensors.head) }

    /// Draws and packs the weights.
    ///
    /// - Parameter progress: Called now and then.
    package func make(
        pool: ThreadPool, progress: ((LoadProgress) -> Void)? = nil
    ) throws -> Model {
        var formats: [String: NumberFormat] = [:]
        var norms: Set<String> = []
        for tensor in tensors.all {
            if tensor.role == .norm { norms.insert(tensor.name) }
            let format = format(of: tensor)
            guard format != .bfloat16 else { continue }
            formats[tensor.name] = format
        }
        let isFused = !(configuration.architecture.tensorNames.fused == nil)
        let (byName, normed) = (formats, norms)
        let random = RandomWeights(
            seed: seed,
            format: { name in
                // A matrix of one expert in a tensor of all is asked for with two numbers more.
                let whole =
                    isFused
                    ? name.split(separator: ".").dropLast(2).joined(separator: ".") : name
                return byName[name] ?? byName[whole] ?? .bfloat16
            },
            value: { normed.contains($0) ? 1 : 0 })
        let map = try configuration.expertMap(rankCount: rankCount)
        return try Model(
            random, configuration: configuration,
            options: ModelOptions(compute: .bfloat16, loadsMTP: false), pool: pool,
            share: (map, 0), progress: progress)
    }
}
