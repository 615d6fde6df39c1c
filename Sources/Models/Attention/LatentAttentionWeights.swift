import Checkpoints
import Tensors

/// The weights of multi-head latent attention, with the up-projections of keys and values kept per
/// head so that they can be absorbed: queries are brought to the latent space instead of latents to
/// the heads.
///
/// Source: DeepSeek-V2 report, §2.1.2.
struct LatentAttentionWeights {
    /// `[queryLatent, hidden]` and its norm, nil where queries are not compressed.
    let queryDown: (weight: Weight, norm: Tensor)?
    /// `[heads * (nope + rope), queryLatent or hidden]`.
    let query: Weight
    /// `[latent + rope, hidden]`.
    let latentDown: Weight
    /// `[latent]`.
    let latentNorm: Tensor
    /// The keys' up-projection, transposed, per head: `[latent, nope]`.
    let keyUp: [Weight]
    /// The values' up-projection, per head: `[value, latent]`.
    let valueUp: [Weight]
    /// `[hidden, heads * value]`.
    let output: Weight

    /// The size of the projections.
    var count: WeightCount {
        WeightCount(
            [query, latentDown, output] + keyUp + valueUp + (queryDown.map { [$0.weight] } ?? []))
    }
}

/// The weights of latent attention, asked for but not yet packed.
struct PendingLatentAttention {
    private let queryDown: (slot: WeightLoader.Slot, norm: Tensor)?
    private let query: WeightLoader.Slot
    private let latentDown: WeightLoader.Slot
    private let latentNorm: Tensor
    private let up: [WeightLoader.Slot]
    private let output: WeightLoader.Slot

    init(
        _ tensors: LatentAttentionTensors, _ shape: ModelConfiguration, from loader: WeightLoader
    ) throws {
        if let down = tensors.queryDown {
            queryDown = (try loader.matrix(down.matrix), try loader.vector(down.norm))
        } else {
            queryDown = nil
        }
        query = try loader.matrix(tensors.query)
        latentDown = try loader.matrix(tensors.latentDown)
        latentNorm = try loader.vector(tensors.latentNorm)
        let (nope, value) = (shape.nopeHeadSize, shape.valueHeadSize)
        let keys = (0 ..< shape.headCount).map { head in
            let first = head * (nope + value)
            return (rows: Range<Int>?(first ..< first + nope), transposed: true)
        }
        let values = (0 ..< shape.headCount).map { head in
            let first = head * (nope + value) + nope
            return (rows: Range<Int>?(first ..< first + value), transposed: false)
        }
        up = try loader.parts(tensors.latentUp, keys + values)
        output = try loader.matrix(tensors.output)
    }

    /// The packed weights.
    var weights: LatentAttentionWeights {
        let heads = up.count / 2
        return LatentAttentionWeights(
            queryDown: queryDown.map { ($0.slot.weight, $0.norm) }, query: query.weight,
            latentDown: latentDown.weight, latentNorm: latentNorm,
            keyUp: up[..<heads].map(\.weight), valueUp: up[heads...].map(\.weight),
            output: output.weight)
    }
}
