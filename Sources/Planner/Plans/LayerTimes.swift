/// How long the layers of one forward take on a rank.
package struct LayerTimes: Sendable {
    /// Computing a block with experts, all tokens at once.
    package var compute = 0.0
    /// Its dispatch and combine, all tokens at once.
    package var travel = 0.0
    /// The block, travel hidden as far as the plan hides it.
    package var block = 0.0
    /// A dense block.
    package var dense = 0.0
    /// The head.
    package var head = 0.0
    /// All blocks and the head.
    package var total = 0.0

    /// The share of travel that computing hides.
    package var hiddenShare: Double {
        travel == 0 ? 0 : max(0, min(1, (compute + travel - block) / travel))
    }

    /// A block whose two micro-batches take turns where that is faster: while one computes, the
    /// other travels.
    ///
    /// - Parameters:
    ///   - work: Computing of a share of the batch.
    ///   - travel: Dispatch and combine of a share.
    package static func block(
        splits: Bool, _ work: (Double) -> Double, _ travel: (Double) -> Double
    ) -> Double {
        let plain = work(1) + travel(1)
        return splits ? min(plain, 2 * max(work(0.5), travel(0.5))) : plain
    }
}

extension Layout {
    /// Times of one forward of a data-parallel copy: decode of `batch` requests, or prefill of
    /// `batch` prompts.
    package var layerTimes: LayerTimes {
        let compute = Compute(self)
        let model = request.model
        let isDecode = request.phase == .decode
        /// Both for a share of the batch.
        func attention(_ share: Double) -> Double {
            attentionSeconds(requests: Double(request.batch) * share)
        }
        func tokens(_ share: Double) -> Double {
            Double(request.batch) * share * (isDecode ? 1 : Double(request.context))
        }
        func work(_ share: Double) -> Double {
            attention(share) + compute.experts(tokens: tokens(share) / Double(request.tp))
        }
        func travel(_ share: Double) -> Double {
            exchange(tokens: tokens(share) / Double(request.tp)).seconds(over: rates)
        }
        var times = LayerTimes()
        times.compute = work(1)
        times.travel = travel(1)
        times.block = LayerTimes.block(
            splits: request.overlaps && (request.batch > 1 || !isDecode), work, travel)
        times.dense = attention(1) + compute.dense(tokens: tokens(1))
        times.head = compute.head(tokens: Double(request.batch))
        times.total =
            Double(model.expertLayers) * times.block + Double(model.denseLayers) * times.dense
            + times.head
        if request.pp > 1 {
            let bytes = tokens(1) / Double(request.tp) * Double(2 * model.hidden)
            times.total += Double(request.pp - 1) * bytes / rates.reachedByNIC
        }
        return times
    }

    /// Attention of a block for requests of decode, or for whole prompts.
    package func attentionSeconds(requests: Double) -> Double {
        let compute = Compute(self)
        let context = Double(request.context)
        guard request.phase != .decode else {
            return compute.projections(tokens: requests) + joiningSeconds(tokens: requests)
                + compute.cachedCore(requests: requests, context: context)
        }
        return compute.projections(tokens: requests * context)
            + joiningSeconds(tokens: requests * context)
            + compute.promptCore(tokens: requests * context, sequence: context)
    }

    /// Summing attention's outputs over the ranks that share it, and handing them back: a ring
    /// moves `2 (TP - 1) / TP` of the tokens of a copy in bf16.
    package func joiningSeconds(tokens: Double) -> Double {
        guard request.tp > 1 else { return 0 }
        let tp = Double(request.tp)
        let bytes = 2 * (tp - 1) / tp * tokens * Double(2 * request.model.hidden)
        let isInside = request.tp <= ranksPerNode
        return rates.fixedSeconds
            + bytes / (isInside ? rates.reachedInNode : rates.reachedByNIC)
    }

    /// TPOT of decode or TTFT of prefill, and tokens per second of one rank.
    ///
    /// With stages, as many batches are under way as there are stages.
    package func serving(
        _ times: LayerTimes
    ) -> (seconds: Double, tokensPerSecondPerRank: Double) {
        let tokens =
            Double(request.batch) * (request.phase == .decode ? 1 : Double(request.context))
        let gain = request.phase == .decode ? 1 + request.acceptance : 1
        let seconds = times.total / gain
        return (seconds, tokens / seconds / Double(request.tp))
    }

    /// A step of training, and tokens per second of one rank.
    package func training(
        _ times: TrainingTimes
    ) -> (seconds: Double, tokensPerSecondPerRank: Double) {
        let tokens = Double(request.batch * request.context * dp)
        return (times.step, tokens / times.step / Double(rankCount))
    }
}
