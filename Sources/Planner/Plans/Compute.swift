import Topology

/// How long a rank computes, from its rates: each part takes the longer of its operations and its
/// bytes (the roofline).
package struct Compute: Sendable {
    let model: ModelShape
    let tp: Double
    let expertsPerRank: Double
    let weightBytes: Double
    let expertWeightBytes: Double
    let operationsPerSecond: Double
    let bf16OperationsPerSecond: Double
    let bytesPerSecond: Double

    /// The rates of a layout's processor.
    package init(_ layout: Layout) {
        model = layout.request.model
        tp = Double(layout.request.tp)
        expertsPerRank = Double(layout.expertsPerRank)
        weightBytes = layout.weightBytes
        expertWeightBytes = layout.expertWeightBytes
        let processor = layout.processor
        let peak =
            layout.request.weights == .fp8
            ? processor.fp8OperationsPerSecond : processor.bf16OperationsPerSecond
        operationsPerSecond = peak * processor.computeEfficiency
        bf16OperationsPerSecond = processor.bf16OperationsPerSecond * processor.computeEfficiency
        bytesPerSecond = processor.memoryBytesPerSecond * processor.memoryEfficiency
    }

    private func roof(
        operations: Double, bytes: Double, isBF16: Bool = false
    ) -> Double {
        max(
            operations / (isBF16 ? bf16OperationsPerSecond : operationsPerSecond),
            bytes / bytesPerSecond)
    }

    /// Products with weights of `parameters` for `tokens`.
    private func product(_ parameters: Double, tokens: Double) -> Double {
        roof(operations: 2 * parameters * tokens, bytes: parameters * weightBytes)
    }

    /// Attention's projections of a block, for tokens of one data-parallel copy.
    package func projections(tokens: Double) -> Double {
        product(model.attentionParameters / tp, tokens: tokens)
    }

    /// Attention's scores and sums of a block over a cache of `context` tokens per request.
    package func cachedCore(requests: Double, context: Double) -> Double {
        let read = model.readTokens(context: context)
        let index = model.indexWork(context: context)
        return roof(
            operations: 2 * requests
                * (read * Double(model.cachedCoreWidth) / tp + index.operations),
            bytes: 2 * requests
                * (read * Double(model.cacheWidth) * model.cacheShare(tp: Int(tp)) + index.values),
            isBF16: true)
    }

    /// Attention's scores and sums of a block over prompts, each token over what its indexer chose
    /// of the tokens before it, and the indexer's scores, which every rank computes.
    package func promptCore(tokens: Double, sequence: Double) -> Double {
        let work = model.promptWork(sequence: sequence)
        return roof(
            operations: 2 * tokens
                * (work.read * Double(model.coreWidth) / tp + work.indexOperations),
            bytes: 0, isBF16: true)
    }

    /// Attention's scores and sums of a block inside sequences, each token over half of its own:
    /// of training, which no model with an indexer has.
    package func causalCore(tokens: Double, sequence: Double) -> Double {
        roof(
            operations: tokens * sequence * Double(model.coreWidth) / tp, bytes: 0, isBF16: true)
    }

    /// Gate, shared and routed experts of a block for `tokens` of one rank: it receives as many
    /// copies as it sends, because routing is even.
    package func experts(tokens: Double) -> Double {
        let copies = tokens * Double(model.activeExperts)
        let own = max(1, expertsPerRank)
        // Of n experts, T copies touch n (1 - (1 - 1/n)^T).
        let touched = own * (1 - Self.power(1 - 1 / own, copies))
        return product(model.sharedParameters + model.gateParameters, tokens: tokens)
            + roof(
                operations: 2 * model.expertParameters * copies,
                bytes: touched * model.expertParameters * expertWeightBytes)
    }

    /// The feed-forward network of a dense block.
    package func dense(tokens: Double) -> Double {
        product(model.denseParameters / tp, tokens: tokens)
    }

    /// The head, in bf16.
    package func head(tokens: Double) -> Double {
        let table = model.tableParameters / tp
        return roof(operations: 2 * table * tokens, bytes: 2 * table, isBF16: true)
    }

    private static func power(_ base: Double, _ exponent: Double) -> Double {
        guard base > 0 else { return exponent > 0 ? 0 : 1 }
        var (result, factor, left) = (1.0, base, exponent.rounded())
        while left >= 1 {
            if left.truncatingRemainder(dividingBy: 2) == 1 { result *= factor }
            factor *= factor
            left = (left / 2).rounded(.down)
        }
        return result
    }
}
