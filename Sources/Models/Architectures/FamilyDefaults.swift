/// What a family's code takes where `config.json` has no such key.
struct FamilyDefaults {
    /// `scoring_func`.
    var scoring = ModelConfiguration.Scoring.sigmoid
    /// `topk_method`.
    var topKMethod = ModelConfiguration.TopKMethod.biased
    /// `head_dim` of grouped queries; nil for `hidden_size` / `num_attention_heads`.
    var headSize: Int?
    /// `first_k_dense_replace`.
    var denseLayerCount = 0
    /// `n_shared_experts`, where the key is absent and not null.
    var sharedExpertCount = 0
    /// `routed_scaling_factor`.
    var routedScalingFactor: Float = 1
    /// `rms_norm_eps`.
    var normEpsilon: Float = 1e-6
    /// `norm_topk_prob`.
    var normalizesWeights = true
    /// `rope_theta`.
    var ropeTheta: Double = 10000
    /// `attention_bias` of grouped queries.
    var attentionBias = false
    /// `index_topk`; nil for dense attention.
    var sparseIndexCount: Int?
    /// The indexer of sparse attention; nil for a family that has none.
    var indexer: IndexerShape?
}
