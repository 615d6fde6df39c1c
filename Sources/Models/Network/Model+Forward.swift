import Collectives
public import Tensors
public import Topology

extension Model {
    /// Runs chunks of any number of sequences through the network and caches what attention keeps.
    ///
    /// - Parameters:
    ///   - keepsHidden: Whether the hidden states are wanted too, for an MTP block.
    ///   - leader: The rank of this node whose rows, `sharedRows` at most, all ranks of the node
    ///     compute together; the others have none. Nil where each computes its own.
    public func forward(
        _ chunks: [SequenceChunk], cache: BlockCache, keepsHidden: Bool = false,
        leader: Rank? = nil
    ) throws -> ForwardResult {
        let rows = try rows(chunks, cache)
        let batch = BatchForward(
            self, rows: rows, cache: cache, work: workspaces[0], shared: shared,
            node: try node(led: leader, rows: rows.tokens.count))
        shared?.group.polling = leader == nil ? .zero : TensorParallelGroup.polling
        batch.embed()
        probe?(.hidden(layer: -1, batch.stream))
        for (layer, weights) in layers.enumerated() {
            try batch.attend(weights, layer: layer)
            try batch.useSharedExperts(weights, layer: layer)
            try batch.useRoutedExperts(weights, layer: layer)
            try batch.finish(weights, layer: layer)
        }
        return try result(of: batch, norm: finalNorm, keepsHidden: keepsHidden)
    }

    /// Runs two batches at once, so that each computes while the other's tokens travel.
    ///
    /// Source: DeepSeek-V3 report, §3.4: the attention of one micro-batch overlaps the dispatch,
    /// experts and combine of the other.
    public func forward(
        _ first: [SequenceChunk], _ second: [SequenceChunk], cache: BlockCache,
        keepsHidden: Bool = false
    ) throws -> (ForwardResult, ForwardResult) {
        let a = BatchForward(
            self, rows: try rows(first, cache), cache: cache, work: workspaces[0],
            shared: shared)
        let b = BatchForward(
            self, rows: try rows(second, cache), cache: cache, work: workspaces[1],
            shared: shared)
        shared?.group.polling = .zero
        a.embed()
        b.embed()
        for (layer, weights) in layers.enumerated() {
            try a.attend(weights, layer: layer)
            if layer > 0 { try b.finish(layers[layer - 1], layer: layer - 1) }
            try b.attend(weights, layer: layer)
            try a.useRoutedExperts(weights, layer: layer)
            try a.useSharedExperts(weights, layer: layer)
            try b.useRoutedExperts(weights, layer: layer)
            try b.useSharedExperts(weights, layer: layer)
            try a.finish(weights, layer: layer)
        }
        let first = try result(of: a, norm: finalNorm, keepsHidden: keepsHidden)
        if let last = layers.last { try b.finish(last, layer: layers.count - 1) }
        return (first, try result(of: b, norm: finalNorm, keepsHidden: keepsHidden))
    }

    /// Drafts with the first MTP block: from hidden states and the tokens that follow them, the
    /// logits of the tokens after those.
    ///
    /// - Parameters:
    ///   - chunks: As for `forward`, but `tokens[i]` is the token at `position + i + 1`.
    ///   - hidden: `[rows, hidden]`: the main model's hidden state at `position + i`.
    public func draft(
        _ chunks: [SequenceChunk], hidden: Tensor, cache: BlockCache, keepsHidden: Bool = false
    ) throws -> ForwardResult {
        guard let block = mtp.first else {
            throw ModelError.request("the model has no MTP block (num_nextn_predict_layers)")
        }
        let batch = BatchForward(
            self, rows: try rows(chunks, cache), cache: cache, work: workspaces[0],
            shared: draftsAlone ? nil : shared)
        let layer = configuration.layerCount
        join(batch, hidden, block)
        probe?(.hidden(layer: layer - 1, batch.stream))
        try batch.attend(block.layer, layer: layer)
        try batch.useSharedExperts(block.layer, layer: layer)
        try batch.useRoutedExperts(block.layer, layer: layer)
        try batch.finish(block.layer, layer: layer)
        return try result(of: batch, norm: block.headNorm, keepsHidden: keepsHidden)
    }

    /// Looks up embeddings.
    func embed(_ tokens: [Int], into rows: Tensor) { embedding.widen(tokens, into: rows) }

    /// The ranks of this node, and which leads.
    private func node(
        led leader: Rank?, rows: Int
    ) throws -> (group: TensorParallelGroup, leader: Rank)? {
        guard let leader else { return nil }
        let limit = nodeProducts?.isLed(by: leader) == true ? sharedRows : 0
        guard let nodeProducts, rows <= limit else {
            throw ModelError.request(
                "\(rows) rows cannot be computed with the node of \(leader): the limit here is"
                    + " \(limit) (sharedRows, of the leader alone)")
        }
        return (nodeProducts, leader)
    }

    private func rows(_ chunks: [SequenceChunk], _ cache: BlockCache) throws -> BatchRows {
        let limits = BatchLimits(
            vocabularySize: configuration.vocabularySize, contextLimit: contextLimit,
            blockCount: cache.blockCount)
        return try BatchRows(chunks, limits, blockTokens: cache.blockTokens)
    }

    /// `eh_proj(concat[enorm(embedding), hnorm(hidden)])` into the residual stream.
    private func join(_ batch: BatchForward, _ hidden: Tensor, _ block: MTPWeights) {
        let count = batch.rows.tokens.count
        precondition(hidden.rows == count, "\(hidden.rows) hidden states for \(count) tokens")
        guard count > 0 else { return }
        func norm(_ rows: Tensor, _ weight: Tensor) -> Tensor {
            let normed = Tensor(unfilledRows: count, columns: configuration.hiddenSize)
            rmsNorm(
                rows, weight: weight, epsilon: configuration.normEpsilon, into: normed, pool: pool)
            return normed
        }
        batch.embed()
        let joined = Tensor.joined(
            norm(batch.stream, block.embeddingNorm), norm(hidden, block.hiddenNorm), pool: pool)
        linear(joined, block.projection, into: batch.stream, compute: compute, pool: pool)
        work.add(WeightCount([block.projection]), rows: count)
    }

    /// Norms the stream and computes the logits that were asked for.
    private func result(
        of batch: BatchForward, norm: Tensor, keepsHidden: Bool
    ) throws -> ForwardResult {
        let stream = batch.stream
        let size = configuration.hiddenSize
        let wanted = batch.rows.wanted
        let logits = Tensor(unfilledRows: wanted.count, columns: configuration.vocabularySize)
        let rows = keepsHidden ? Array(0 ..< stream.rows) : wanted
        let normed = Tensor(rows: rows.count, columns: size)
        var inputs = normed
        if !rows.isEmpty {
            gatherRows(stream, rows: rows, into: normed, pool: pool)
            rmsNorm(
                normed, weight: norm, epsilon: configuration.normEpsilon, into: normed, pool: pool)
        }
        if keepsHidden && wanted.count < rows.count {
            inputs = Tensor(rows: wanted.count, columns: size)
            if !wanted.isEmpty { gatherRows(normed, rows: wanted, into: inputs, pool: pool) }
        }
        try timing(.head) {
            try useHead(inputs, into: logits, with: batch.isCollective ? nodeHead : nil)
        }
        return ForwardResult(logits: logits, hidden: keepsHidden ? normed : nil)
    }

    /// The logits of these rows; with a node's ranks also those of theirs, in part.
    private func useHead(
        _ inputs: Tensor, into logits: Tensor, with node: NodeProduct?
    ) throws {
        if let node {
            let isDone = try node.run(inputs, into: logits) { rows, part in
                linear(rows, head[node.place], into: part, compute: compute, pool: pool)
                work.add(WeightCount([head[node.place]]), rows: rows.rows)
            }
            if isDone { return }
        }
        guard inputs.rows > 0 else { return }
        var column = 0
        let parts = head.map { slice in
            defer { column += slice.outputs }
            return LinearPart(inputs, column: 0, slice, into: logits, column: column)
        }
        linear(parts, compute: compute, pool: pool)
        work.add(WeightCount(head), rows: inputs.rows)
    }
}
