import Tensors

/// The gate and the experts of one layer that this rank holds.
struct ExpertLayerWeights {
    /// `[experts, hidden]`.
    let gate: Weight
    /// Added to the scores for the choice alone, `[experts]`; nil where the gate has none.
    let bias: Tensor?
    /// The fused shared experts, nil without any.
    let shared: ExpertWeights?
    /// This rank's physical experts, in the placement's order.
    var routed: [ExpertWeights]
}

/// One transformer block.
struct LayerWeights {
    enum FeedForward {
        case dense(ExpertWeights)
        case experts(ExpertLayerWeights)
    }

    /// Before attention, `[hidden]`.
    let inputNorm: Tensor
    let attention: any AttentionLayer
    /// Before the feed-forward network, `[hidden]`.
    let feedForwardNorm: Tensor
    var feedForward: FeedForward
}

/// One multi-token-prediction block: joins a hidden state with the embedding of the next token.
///
/// Embedding and head are the main model's (DeepSeek-V3 report, §2.2), so the checkpoint's copies
/// of them are not read.
struct MTPWeights {
    /// `[hidden]`, on the embedding.
    let embeddingNorm: Tensor
    /// `[hidden]`, on the hidden state.
    let hiddenNorm: Tensor
    /// `[hidden, 2 * hidden]`: embedding first.
    let projection: Weight
    var layer: LayerWeights
    /// Before the head, `[hidden]`.
    let headNorm: Tensor
}
