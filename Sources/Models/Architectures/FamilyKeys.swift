import Encoding

/// What becomes of each key of a family's `config.json`, where the common lists
/// (`ConfigurationKeys`) do not say it.
struct FamilyKeys: Sendable {
    /// Keys whose values are read, in place of the common ones.
    let read: Set<String>
    /// Keys inside `rope_scaling` and `rope_parameters` whose values are read, beside the common
    /// ones.
    var readOfRope: Set<String> = []
    /// Keys of which some values are run, beside the common ones.
    var fixed: [String: [JSONValue]] = [:]
    /// Keys that hold a list, and the values that it may have.
    var lists: [String: [JSONValue]] = [:]
    /// Keys without effect, beside the common ones.
    var withoutEffect: Set<String> = []

    /// What every family of grouped-query attention reads.
    static let ofGroupedQueries: Set<String> = [
        "architectures", "bos_token_id", "compression_config", "dtype", "eos_token_id", "head_dim",
        "hidden_size", "intermediate_size", "max_position_embeddings", "model_type",
        "num_attention_heads", "num_experts_per_tok", "num_hidden_layers", "num_key_value_heads",
        "num_local_experts", "quantization_config", "rms_norm_eps", "rope_parameters",
        "rope_scaling", "rope_theta", "tie_word_embeddings", "torch_dtype", "vocab_size",
    ]
}
