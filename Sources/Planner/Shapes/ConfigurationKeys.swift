/// The keys of a published `config.json` that decide sizes.
struct ConfigurationKeys: Decodable {
    var architectures: [String]?
    var hidden_size: Int
    var num_hidden_layers: Int
    var num_attention_heads: Int
    var num_key_value_heads: Int?
    var head_dim: Int?
    var intermediate_size: Int
    var vocab_size: Int
    var q_lora_rank: Int?
    var kv_lora_rank: Int?
    var qk_rope_head_dim: Int?
    var qk_nope_head_dim: Int?
    var v_head_dim: Int?
    var first_k_dense_replace: Int?
    var moe_intermediate_size: Int?
    var n_routed_experts: Int?
    var num_experts: Int?
    var num_local_experts: Int?
    var moe_layer_freq: LayerFrequency?
    var mlp_layer_types: [String]?
    var decoder_sparse_step: Int?
    var mlp_only_layers: [Int]?
    var attention_bias: Bool?
    var use_routing_bias: Bool?
    var n_shared_experts: Int?
    var num_experts_per_tok: Int?
    var num_experts_per_token: Int?
    var experts_per_token: Int?
    var moe_k: Int?
    var n_group: Int?
    var topk_group: Int?
    var topk_method: String?
    var index_topk: Int?
    var index_n_heads: Int?
    var index_head_dim: Int?
    var indexer_types: [String]?
    var index_topk_pattern: BlockWords?
    var index_topk_freq: Int?
    var index_skip_topk_offset: Int?
    var linear_num_value_heads: Int?
    var linear_attn_config: Presence?
    var full_attention_interval: Int?
    var attn_layer_period: Int?
    var shared_expert_intermediate_size: Int?
    var shared_intermediate_size: Int?
    var attn_type_list: [Int]?
    var layer_types: [String]?
    var use_sliding_window: Bool?
    var sliding_window: Int?
    var max_window_layers: Int?

    func shape(name: String, file: String) throws(PlanError) -> ModelShape {
        try checkRanges(file)
        try checkKinds(file)
        var shape = ModelShape(
            name: name, hidden: hidden_size, layers: num_hidden_layers,
            denseLayers: routedExperts == nil ? num_hidden_layers : try denseLayers(file),
            heads: num_attention_heads, attention: try attention(file),
            denseWidth: intermediate_size, vocabulary: vocab_size)
        shape.indexer = try indexer(file)
        shape.hasOutputBias = attention_bias == true && family.hasOutputBias
        guard let routedExperts else { return shape }
        // Families that call their experts local have no other networks, and no other width.
        let own = expertKey == "num_local_experts" ? intermediate_size : nil
        guard let width = moe_intermediate_size ?? own else {
            throw .model(file: file, key: "moe_intermediate_size", fact: "is missing")
        }
        shape.expertWidth = width
        shape.routedExperts = routedExperts
        shape.sharedExperts = n_shared_experts ?? family.sharedExperts
        guard let chosen = chosenExperts else {
            throw .model(
                file: file, key: "num_experts_per_tok", fact: "is missing beside \(expertKey)")
        }
        shape.activeExperts = chosen.count
        shape.expertGroups = n_group ?? 1
        shape.keptGroups = topk_group ?? 1
        shape.hasGateBias =
            topk_method == "noaux_tc" || use_routing_bias == true
            || kv_lora_rank == nil && n_routed_experts != nil
        return shape
    }

    private var routedExperts: Int? { n_routed_experts ?? num_experts ?? num_local_experts }

    /// The key of the count of routed experts.
    private var expertKey: String {
        if n_routed_experts != nil { return "n_routed_experts" }
        return num_experts != nil ? "num_experts" : "num_local_experts"
    }

    /// How many experts a token is sent to, and the key that says so: models spell it differently.
    private var chosenExperts: (key: String, count: Int)? {
        let spellings = [
            ("num_experts_per_tok", num_experts_per_tok),
            ("num_experts_per_token", num_experts_per_token),
            ("experts_per_token", experts_per_token), ("moe_k", moe_k),
        ]
        for (key, count) in spellings {
            if let count { return (key, count) }
        }
        return nil
    }

    private func attention(_ file: String) throws(PlanError) -> ModelShape.Attention {
        guard let kv_lora_rank else {
            return .grouped(
                keyValueHeads: num_key_value_heads ?? num_attention_heads,
                headSize: head_dim ?? family.headSize
                    ?? hidden_size / max(1, num_attention_heads),
                hasBias: attention_bias == true)
        }
        guard let qk_rope_head_dim, let qk_nope_head_dim, let v_head_dim else {
            throw .model(
                file: file, key: "qk_rope_head_dim",
                fact: "and qk_nope_head_dim and v_head_dim are needed beside kv_lora_rank")
        }
        return .latent(
            query: q_lora_rank, latent: kv_lora_rank, rope: qk_rope_head_dim,
            nope: qk_nope_head_dim, value: v_head_dim)
    }
}

extension ConfigurationKeys {
    /// What a family's code takes without the keys.
    struct Family {
        var denseLayers: Int?
        var headSize: Int?
        var sharedExperts = 0
        var indexer: ModelShape.Indexer?
        /// Whether `attention_bias` gives the output projection one too.
        var hasOutputBias = true
    }

    /// Families whose code takes other values than most, by class name.
    private static let families = [
        "DeepseekV32ForCausalLM": Family(
            indexer: ModelShape.Indexer(heads: 64, size: 128, count: 2048, layers: 0)),
        "Glm4MoeForCausalLM": Family(denseLayers: 1, sharedExperts: 1, hasOutputBias: false),
        "Glm4MoeLiteForCausalLM": Family(denseLayers: 1, sharedExperts: 1),
        "GlmMoeDsaForCausalLM": Family(
            denseLayers: 3, sharedExperts: 1,
            indexer: ModelShape.Indexer(heads: 32, size: 128, count: 2048, layers: 0)),
        "MiniMaxM2ForCausalLM": Family(headSize: 128),
    ]

    var family: Family {
        for name in architectures ?? [] {
            if let family = Self.families[name] { return family }
        }
        return Family()
    }

    private func checkRanges(_ file: String) throws(PlanError) {
        func check(
            _ key: String, _ value: Int?, least: Int = 1, most: Int
        ) throws(PlanError) {
            guard let value, !(least ... most).contains(value) else { return }
            throw .model(file: file, key: key, fact: "\(value) is not \(least) to \(most)")
        }
        try check("hidden_size", hidden_size, most: 1 << 20)
        try check("num_hidden_layers", num_hidden_layers, most: 4096)
        try check("num_attention_heads", num_attention_heads, most: 65536)
        try check("intermediate_size", intermediate_size, most: 1 << 24)
        try check("vocab_size", vocab_size, most: 1 << 28)
        try check("moe_intermediate_size", moe_intermediate_size, most: 1 << 24)
        try check(expertKey, routedExperts, most: 65536)
        if let (key, count) = chosenExperts { try check(key, count, most: routedExperts ?? 65536) }
        try check("n_shared_experts", n_shared_experts, least: 0, most: 65536)
        try check("first_k_dense_replace", first_k_dense_replace, least: 0, most: 4096)
        try check("moe_layer_freq", expertLayerStride, most: 4096)
        try check("n_group", n_group, most: routedExperts ?? 65536)
        try check("topk_group", topk_group, most: n_group ?? 1)
        try check("decoder_sparse_step", decoder_sparse_step, most: 4096)
        try check("num_key_value_heads", num_key_value_heads, most: num_attention_heads)
        try check("head_dim", head_dim, most: 1 << 16)
        try check("q_lora_rank", q_lora_rank, most: 1 << 20)
        try check("kv_lora_rank", kv_lora_rank, most: 1 << 20)
        try check("qk_rope_head_dim", qk_rope_head_dim, least: 0, most: 1 << 16)
        try check("qk_nope_head_dim", qk_nope_head_dim, least: 0, most: 1 << 16)
        try check("v_head_dim", v_head_dim, most: 1 << 16)
        try check("index_topk", index_topk, most: 1 << 24)
        try check("index_n_heads", index_n_heads, most: 4096)
        try check("index_head_dim", index_head_dim, most: 4096)
        try check("index_topk_freq", index_topk_freq, least: 0, most: 4096)
        try check("index_skip_topk_offset", index_skip_topk_offset, least: 0, most: 4096)
    }

    /// Refuses kinds of attention and of experts that a shape has no place for.
    private func checkKinds(_ file: String) throws(PlanError) {
        func refusal(_ key: String, _ fact: String) -> PlanError {
            .model(file: file, key: key, fact: fact)
        }
        if let linear_num_value_heads {
            throw refusal(
                "linear_num_value_heads",
                "\(linear_num_value_heads): linear attention is not planned")
        }
        if linear_attn_config != nil {
            throw refusal("linear_attn_config", "is there: linear attention is not planned")
        }
        for (key, period) in [
            ("full_attention_interval", full_attention_interval ?? 1),
            ("attn_layer_period", attn_layer_period ?? 1),
        ] where period != 1 {
            throw refusal(key, "\(period): blocks without full attention are not planned")
        }
        for (key, width) in [
            ("shared_expert_intermediate_size", shared_expert_intermediate_size ?? 0),
            ("shared_intermediate_size", shared_intermediate_size ?? 0),
        ] where width != 0 {
            throw refusal(key, "\(width): a shared expert of its own width is not planned")
        }
        if let kind = attn_type_list?.first(where: { $0 != 1 }) {
            throw refusal(
                "attn_type_list", "\(kind) is not planned; 1, attention over all tokens, is")
        }
        try checkWindows(refusal)
    }

    /// Refuses windows that any block attends in.
    private func checkWindows(
        _ refusal: (_ key: String, _ fact: String) -> PlanError
    ) throws(PlanError) {
        let slides = use_sliding_window != false && sliding_window != nil
        let full = ["full_attention", "indexed_attention", "deepseek_sparse_attention"]
        let other = layer_types?.first { kind in
            !full.contains(kind) && (slides || kind != "sliding_attention")
        }
        if let other {
            throw refusal(
                "layer_types",
                "\(String(reflecting: String(other.prefix(40)))) is not planned; "
                    + "\(full.joined(separator: ", ")) are")
        }
        guard layer_types == nil, slides, let sliding_window else { return }
        // Without the switch every block has the window.
        guard use_sliding_window == true else {
            throw refusal("sliding_window", "\(sliding_window) is not planned in every block")
        }
        if max_window_layers ?? 0 < num_hidden_layers {
            throw refusal(
                "use_sliding_window", "true: a window of \(sliding_window) is not planned")
        }
    }
}

extension ConfigurationKeys {
    /// A key that is there, whatever its value.
    struct Presence: Decodable {
        init(from decoder: any Decoder) {}
    }

    /// A word for each block, in a list or as letters of a text.
    enum BlockWords: Decodable {
        case words([String])
        case letters(String)

        init(from decoder: any Decoder) throws {
            let box = try decoder.singleValueContainer()
            do {
                self = .words(try box.decode([String].self))
            } catch DecodingError.typeMismatch {
                self = .letters(try box.decode(String.self))
            }
        }
    }

    private func indexer(_ file: String) throws(PlanError) -> ModelShape.Indexer? {
        let own = family.indexer
        guard kv_lora_rank != nil, let heads = index_n_heads ?? own?.heads,
            let size = index_head_dim ?? own?.size, let count = index_topk ?? own?.count
        else { return nil }
        return ModelShape.Indexer(
            heads: heads, size: size, count: count, layers: try indexerLayers(file))
    }

    /// Blocks that run an indexer: as listed, else every n-th, counted from the last of the first
    /// ones, which all do.
    private func indexerLayers(_ file: String) throws(PlanError) -> Int {
        if let indexer_types {
            return try choosing(indexer_types, "full", "shared", of: "indexer_types", file)
        }
        switch index_topk_pattern {
        case .words(let words):
            return try choosing(words, "full", "shared", of: "index_topk_pattern", file)
        case .letters(let text):
            return try choosing(text.map(String.init), "F", "S", of: "index_topk_pattern", file)
        case nil: break
        }
        let stride = max(1, index_topk_freq ?? 1)
        let offset = index_skip_topk_offset ?? 2
        guard max(1 - offset, 0).isMultiple(of: stride) else {
            throw .model(
                file: file, key: "index_skip_topk_offset",
                fact: "\(offset) with index_topk_freq \(stride) leaves block 0 without a choice")
        }
        return (0 ..< num_hidden_layers).count {
            max($0 - offset + 1, 0).isMultiple(of: stride)
        }
    }

    /// How many blocks choose, of a word for each.
    private func choosing(
        _ words: [String], _ full: String, _ shared: String, of key: String, _ file: String
    ) throws(PlanError) -> Int {
        guard words.count == num_hidden_layers else {
            throw .model(
                file: file, key: key,
                fact: "lists \(words.count) blocks; num_hidden_layers is \(num_hidden_layers)")
        }
        if let other = words.first(where: { $0 != full && $0 != shared }) {
            throw .model(
                file: file, key: key,
                fact: "\(String(reflecting: String(other.prefix(40)))) is neither \(full) nor "
                    + "\(shared)")
        }
        guard words.first != shared else {
            throw .model(
                file: file, key: key,
                fact: "makes block 0 \(shared); no block before it chooses what it would see")
        }
        return words.count { $0 == full }
    }
}
