import Checkpoints
import Tensors

/// The weights of grouped-query attention.
struct GroupedAttentionWeights {
    /// A packed matrix, and what is added to its outputs, `[outputs]`; nil for nothing.
    struct Projection {
        let weight: Weight
        let bias: Tensor?
    }

    /// `[heads * size, hidden]`.
    let query: Projection
    /// `[keyValueHeads * size, hidden]`.
    let key: Projection
    /// `[keyValueHeads * size, hidden]`.
    let value: Projection
    /// `[hidden, heads * size]`.
    let output: Projection
    /// `[size]`, or the width of all heads; nil without norms.
    let norms: (query: Tensor, key: Tensor)?
    /// `[heads]`, a score beside those of the entries; nil for none.
    let sinks: Tensor?

    /// The size of the projections.
    var count: WeightCount { WeightCount([query, key, value, output].map(\.weight)) }
}

/// The weights of grouped-query attention, asked for but not yet packed.
struct PendingGroupedAttention {
    private struct Projection {
        let slot: WeightLoader.Slot
        let bias: Tensor?

        init(_ tensors: GroupedAttentionTensors.Projection, from loader: WeightLoader) throws {
            slot = try loader.matrix(tensors.matrix)
            bias = try tensors.bias.map(loader.vector)
        }

        var packed: GroupedAttentionWeights.Projection {
            GroupedAttentionWeights.Projection(weight: slot.weight, bias: bias)
        }
    }

    private let query: Projection
    private let key: Projection
    private let value: Projection
    private let output: Projection
    private let norms: (query: Tensor, key: Tensor)?
    private let sinks: Tensor?

    init(_ tensors: GroupedAttentionTensors, from loader: WeightLoader) throws {
        query = try Projection(tensors.query, from: loader)
        key = try Projection(tensors.key, from: loader)
        value = try Projection(tensors.value, from: loader)
        output = try Projection(tensors.output, from: loader)
        norms = try tensors.norms.map { (try loader.vector($0.query), try loader.vector($0.key)) }
        sinks = try tensors.sinks.map(loader.vector)
    }

    /// The packed weights.
    var weights: GroupedAttentionWeights {
        GroupedAttentionWeights(
            query: query.packed, key: key.packed, value: value.packed, output: output.packed,
            norms: norms, sinks: sinks)
    }
}
