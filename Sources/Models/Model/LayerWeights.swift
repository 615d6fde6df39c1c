import Tensors

/// Multi-head latent attention, with the up-projections of keys and values kept per head so that
/// they can be absorbed: queries are brought to the latent space instead of latents to the heads.
///
/// Source: DeepSeek-V2 report, §2.1.2.
struct AttentionWeights {
    /// `[hidden]`.
    let inputNorm: Tensor
    /// `q_a_proj` and its norm, nil where queries are not compressed.
    let queryDown: (weight: Weight, norm: Tensor)?
    /// `q_b_proj` or `q_proj`, `[heads * (nope + rope), queryLatent or hidden]`.
    let query: Weight
    /// `kv_a_proj_with_mqa`, `[latent + rope, hidden]`.
    let latentDown: Weight
    /// `[latent]`.
    let latentNorm: Tensor
    /// The key half of `kv_b_proj`, transposed, per head: `[latent, nope]`.
    let keyUp: [Weight]
    /// The value half of `kv_b_proj`, per head: `[value, latent]`.
    let valueUp: [Weight]
    /// `o_proj`, `[hidden, heads * value]`.
    let output: Weight
}

/// The gate and the experts of one layer that this rank holds.
struct ExpertLayerWeights {
    /// `[experts, hidden]`.
    let gate: Weight
    /// `e_score_correction_bias`, `[experts]`; nil where the gate has none.
    let bias: Tensor?
    /// The fused shared experts, nil without any.
    let shared: ExpertWeights?
    /// This rank's physical experts, in the placement's order.
    let routed: [ExpertWeights]
}

/// One transformer block.
struct LayerWeights {
    enum FeedForward {
        case dense(ExpertWeights)
        case experts(ExpertLayerWeights)
    }

    let attention: AttentionWeights
    /// `post_attention_layernorm`, `[hidden]`.
    let feedForwardNorm: Tensor
    let feedForward: FeedForward
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
    /// `eh_proj`, `[hidden, 2 * hidden]`: embedding first.
    let projection: Weight
    let layer: LayerWeights
    /// `shared_head.norm`, `[hidden]`.
    let headNorm: Tensor
}
