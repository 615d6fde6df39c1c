extension ConfigurationKeys {
    /// Which blocks have experts: every n-th, or a number per block that is not 0 where it has.
    enum LayerFrequency: Decodable {
        case stride(Int)
        case layers([Bool])

        init(from decoder: any Decoder) throws {
            let box = try decoder.singleValueContainer()
            do {
                self = .layers(try box.decode([Int].self).map { $0 != 0 })
            } catch DecodingError.typeMismatch {
                self = .stride(try box.decode(Int.self))
            }
        }
    }

    /// Blocks without experts: as a list says; else the first ones and all but every n-th; else
    /// those that Qwen's keys name.
    ///
    /// A list and a count that are both there must say the same, as for a model that Apus runs.
    func denseLayers(_ file: String) throws(PlanError) -> Int {
        let lists = try expertLists(file)
        guard let (key, layers) = lists.last else {
            return (0 ..< num_hidden_layers).count { !isExpertLayerByCounts($0) }
        }
        for (other, theirs) in lists where theirs != layers {
            throw .model(file: file, key: key, fact: "differs from \(other)")
        }
        if first_k_dense_replace != nil,
            let wrong = layers.indices.first(where: { layers[$0] != isExpertLayerByCounts($0) })
        {
            throw .model(
                file: file, key: key,
                fact: "makes block \(wrong) \(layers[wrong] ? "sparse" : "dense"); "
                    + "first_k_dense_replace is \(first_k_dense_replace ?? 0)")
        }
        return layers.count { !$0 }
    }

    /// What lists of all blocks say, each with its key.
    private func expertLists(
        _ file: String
    ) throws(PlanError) -> [(key: String, layers: [Bool])] {
        var lists: [(key: String, layers: [Bool])] = []
        if case .layers(let layers) = moe_layer_freq { lists.append(("moe_layer_freq", layers)) }
        if let kinds = mlp_layer_types {
            if let other = kinds.first(where: { $0 != "dense" && $0 != "sparse" }) {
                throw .model(
                    file: file, key: "mlp_layer_types",
                    fact: "\(String(reflecting: String(other.prefix(40)))) is neither dense nor "
                        + "sparse")
            }
            lists.append(("mlp_layer_types", kinds.map { $0 == "sparse" }))
        }
        for (key, layers) in lists where layers.count != num_hidden_layers {
            throw .model(
                file: file, key: key,
                fact: "lists \(layers.count) blocks; num_hidden_layers is \(num_hidden_layers)")
        }
        return lists
    }

    private func isExpertLayerByCounts(_ layer: Int) -> Bool {
        guard let first = first_k_dense_replace ?? family.denseLayers ?? countedFromFirst else {
            let isListed = (mlp_only_layers ?? []).contains(layer)
            return !isListed && (layer + 1).isMultiple(of: decoder_sparse_step ?? 1)
        }
        return layer >= first && layer.isMultiple(of: expertLayerStride ?? 1)
    }

    /// 0 where `moe_layer_freq` alone says which blocks have experts.
    private var countedFromFirst: Int? { moe_layer_freq == nil ? nil : 0 }

    /// `moe_layer_freq` where it is one number: every so many blocks, counted from block 0.
    var expertLayerStride: Int? {
        if case .stride(let stride) = moe_layer_freq { stride } else { nil }
    }
}
