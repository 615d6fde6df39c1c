import Foundation

extension ModelShape {
    /// A published model by its name, or the `config.json` of a folder.
    ///
    /// - Throws: `PlanError.model` naming the key, its value and the limit.
    package init(named name: String) throws(PlanError) {
        if let shape = Self.published.first(where: { $0.name == name.lowercased() }) {
            self = shape
            return
        }
        let file = name.hasSuffix(".json") ? name : name + "/config.json"
        guard let data = FileManager.default.contents(atPath: file) else {
            let known = Self.published.map(\.name).joined(separator: ", ")
            throw .model(
                file: file, key: "the file",
                fact: "cannot be read; models known by name: \(known)")
        }
        guard data.count <= Self.largestFileBytes else {
            throw .model(
                file: file, key: "the file",
                fact: "\(data.count) bytes; the limit is \(Self.largestFileBytes)")
        }
        let keys: ConfigurationKeys
        do { keys = try JSONDecoder().decode(ConfigurationKeys.self, from: data) } catch {
            throw .model(file: file, key: "the text", fact: Self.words(for: error))
        }
        let folder = URL(filePath: file).deletingLastPathComponent().lastPathComponent
        self = try keys.shape(name: folder, file: file)
    }

    private static let largestFileBytes = 1_000_000

    private static func words(for error: any Error) -> String {
        switch error as? DecodingError {
        case .keyNotFound(let key, _): "\(key.stringValue) is missing"
        case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
            "\(context.codingPath.map(\.stringValue).joined(separator: ".")) is not of type \(type)"
        default: "is not a JSON object"
        }
    }
}

/// The keys of a published `config.json` that decide sizes.
private struct ConfigurationKeys: Decodable {
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
    var decoder_sparse_step: Int?
    var mlp_only_layers: [Int]?
    var attention_bias: Bool?
    var use_routing_bias: Bool?
    var n_shared_experts: Int?
    var num_experts_per_tok: Int?
    var n_group: Int?
    var topk_group: Int?
    var topk_method: String?
    var index_topk: Int?
    var index_n_heads: Int?
    var index_head_dim: Int?
    var indexer_types: [String]?

    func shape(name: String, file: String) throws(PlanError) -> ModelShape {
        for (key, value, limit) in [
            ("hidden_size", hidden_size, 1 << 20), ("num_hidden_layers", num_hidden_layers, 4096),
            ("num_attention_heads", num_attention_heads, 65536),
            ("intermediate_size", intermediate_size, 1 << 24),
            ("vocab_size", vocab_size, 1 << 28),
            ("moe_intermediate_size", moe_intermediate_size ?? 1, 1 << 24),
            (expertKey, routedExperts ?? 1, 65536),
            ("num_experts_per_tok", num_experts_per_tok ?? 1, routedExperts ?? 65536),
            ("n_group", n_group ?? 1, routedExperts ?? 65536),
            ("decoder_sparse_step", decoder_sparse_step ?? 1, 4096),
            ("num_key_value_heads", num_key_value_heads ?? 1, num_attention_heads),
            ("head_dim", head_dim ?? 1, 1 << 16),
            ("topk_group", topk_group ?? 1, n_group ?? 1),
            ("kv_lora_rank", kv_lora_rank ?? 1, 1 << 20),
            ("index_topk", index_topk ?? 1, 1 << 24), ("index_n_heads", index_n_heads ?? 1, 4096),
            ("index_head_dim", index_head_dim ?? 1, 4096),
        ] where !(1 ... limit).contains(value) {
            throw .model(file: file, key: key, fact: "\(value) is not 1 to \(limit)")
        }
        var shape = ModelShape(
            name: name, hidden: hidden_size, layers: num_hidden_layers,
            denseLayers: routedExperts == nil ? num_hidden_layers : denseLayers,
            heads: num_attention_heads, attention: try attention(file),
            denseWidth: intermediate_size, vocabulary: vocab_size)
        if kv_lora_rank != nil, let index_topk, let index_n_heads, let index_head_dim {
            shape.indexer = ModelShape.Indexer(
                heads: index_n_heads, size: index_head_dim, count: index_topk,
                layers: indexer_types.map { types in types.count { $0 != "shared" } }
                    ?? num_hidden_layers)
        }
        guard let routedExperts else { return shape }
        // Families that call their experts local have no other networks, and no other width.
        let own = expertKey == "num_local_experts" ? intermediate_size : nil
        guard let width = moe_intermediate_size ?? own else {
            throw .model(file: file, key: "moe_intermediate_size", fact: "is missing")
        }
        shape.expertWidth = width
        shape.routedExperts = routedExperts
        shape.sharedExperts = n_shared_experts ?? 0
        shape.activeExperts = num_experts_per_tok ?? 1
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

    /// Blocks without experts: the first ones, or all but every n-th and those that are listed.
    private var denseLayers: Int {
        guard let first = first_k_dense_replace else {
            let listed = Set(mlp_only_layers ?? [])
            return (0 ..< num_hidden_layers).count {
                listed.contains($0) || !($0 + 1).isMultiple(of: decoder_sparse_step ?? 1)
            }
        }
        return min(num_hidden_layers, first)
    }

    private func attention(_ file: String) throws(PlanError) -> ModelShape.Attention {
        guard let kv_lora_rank else {
            return .grouped(
                keyValueHeads: num_key_value_heads ?? num_attention_heads,
                headSize: head_dim ?? hidden_size / max(1, num_attention_heads),
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
