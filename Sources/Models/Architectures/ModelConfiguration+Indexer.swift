import Encoding

/// The indexer of sparse attention: how it scores tokens, and which blocks run one.
struct IndexerShape: Sendable, Equatable {
    /// Heads of a query (`index_n_heads`).
    var headCount: Int
    /// Width of a head's query, and of the key (`index_head_dim`).
    var headSize: Int
    /// Whether neighbouring values turn together, and not those of two halves.
    var rotatesNeighbours: Bool
    /// Which main blocks see what an earlier block chose; nil where every block chooses.
    var sharing: [Bool]?
}

extension ModelConfiguration {
    /// Reads the indexer of a family that has one.
    ///
    /// Which blocks share is said by `indexer_types`, else by `index_topk_pattern`, else by
    /// `index_topk_freq` and `index_skip_topk_offset`, in the order that Transformers reads them.
    mutating func readIndexer(
        _ box: KeyedDecodingContainer<CodingKeys>, _ defaults: FamilyDefaults
    ) throws {
        guard var indexer = defaults.indexer else { return }
        indexer.headCount =
            try box.decodeIfPresent(Int.self, forKey: .indexHeadCount) ?? indexer.headCount
        indexer.headSize =
            try box.decodeIfPresent(Int.self, forKey: .indexHeadSize) ?? indexer.headSize
        indexer.rotatesNeighbours =
            try box.decodeIfPresent(Bool.self, forKey: .indexRotatesNeighbours)
            ?? indexer.rotatesNeighbours
        let sharing: [Bool]
        if let types = try box.decodeIfPresent([String].self, forKey: .indexerTypes) {
            sharing = try self.sharing(types, full: "full", shared: "shared", .indexerTypes)
        } else if let types = try? box.decodeIfPresent([String].self, forKey: .indexerPattern) {
            sharing = try self.sharing(types, full: "full", shared: "shared", .indexerPattern)
        } else if let text = try box.decodeIfPresent(String.self, forKey: .indexerPattern) {
            sharing = try self.sharing(
                text.map(String.init), full: "F", shared: "S", .indexerPattern)
        } else {
            sharing = try strideSharing(box)
        }
        indexer.sharing = sharing.contains(true) ? sharing : nil
        self.indexer = indexer
    }

    /// What a list of one word per main block says.
    private func sharing(
        _ words: [String], full: String, shared: String, _ key: CodingKeys
    ) throws -> [Bool] {
        if let other = words.first(where: { $0 != full && $0 != shared }) {
            throw Refusal(
                key: key.rawValue, fact: "\(other.printable()) is neither \(full) nor \(shared)")
        }
        guard words.count == layerCount else {
            throw Refusal(
                key: key.rawValue,
                fact: "lists \(words.count) blocks; num_hidden_layers is \(layerCount)")
        }
        guard words.first != shared else {
            throw Refusal(
                key: key.rawValue,
                fact: "makes block 0 \(shared); no block before it chooses what it would see")
        }
        return words.map { $0 == shared }
    }

    /// Every n-th block chooses, counted from the last of the first ones, which all do.
    private func strideSharing(_ box: KeyedDecodingContainer<CodingKeys>) throws -> [Bool] {
        func read(_ key: CodingKeys, or absent: Int) throws -> Int {
            let value = try box.decodeIfPresent(Int.self, forKey: key) ?? absent
            guard 0 ... Limit.layers ~= value else {
                throw Refusal(
                    key: key.rawValue, fact: "\(value) is outside 0...\(Limit.layers)")
            }
            return value
        }
        let stride = max(1, try read(.indexerStride, or: 1))
        let offset = try read(.indexerOffset, or: 2)
        guard 0 ... Limit.layers ~= layerCount else { return [] }
        let sharing = (0 ..< layerCount).map {
            !max($0 - offset + 1, 0).isMultiple(of: stride)
        }
        guard sharing.first != true else {
            throw Refusal(
                key: CodingKeys.indexerOffset.rawValue,
                fact: "\(offset) with index_topk_freq \(stride) leaves block 0 without a choice")
        }
        return sharing
    }

    /// Writes the keys of the indexer.
    func encodeIndexer(into box: inout KeyedEncodingContainer<CodingKeys>) throws {
        guard let indexer else { return }
        try box.encode(indexer.headCount, forKey: .indexHeadCount)
        try box.encode(indexer.headSize, forKey: .indexHeadSize)
        try box.encode(indexer.rotatesNeighbours, forKey: .indexRotatesNeighbours)
        try box.encodeIfPresent(
            indexer.sharing?.map { $0 ? "shared" : "full" }, forKey: .indexerTypes)
    }

    /// Whether a block runs an indexer; MTP blocks, which come after the main ones, do.
    func hasIndexer(layer: Int) -> Bool {
        guard let indexer else { return false }
        return layer >= layerCount || !(indexer.sharing?[layer] ?? false)
    }
}
