import Tensors

/// Multi-head latent attention while it trains, keys and values expanded from the latent.
///
/// Of a forward it keeps the latents before their norms, the output of the heads and the sums of
/// the softmax. Norms and up-projections are computed again in the backward.
///
/// Source: DeepSeek-V3 report, §2.1.1; recomputation, §3.2.3.
final class TrainedLatentAttention: TrainedAttention {
    let context: TrainingContext
    let queryA: Parameter?
    let queryNorm: Parameter?
    let queryB: Parameter
    let latentDown: Parameter
    let latentNorm: Parameter
    let latentUp: Parameter
    let output: Parameter

    init(_ tensors: LatentAttentionTensors, context: TrainingContext) {
        self.context = context
        queryA = tensors.queryDown.map { Parameter($0.matrix) }
        queryNorm = tensors.queryDown.map { Parameter($0.norm) }
        queryB = Parameter(tensors.query)
        latentDown = Parameter(tensors.latentDown)
        latentNorm = Parameter(tensors.latentNorm)
        latentUp = Parameter(tensors.latentUp)
        output = Parameter(tensors.output)
    }

    var parameters: [Parameter] {
        [queryA, queryNorm, queryB, latentDown, latentNorm, latentUp, output]
            .compactMap { $0 }
    }

    /// What the backward of one micro-batch needs.
    private struct Saved {
        let queryLatent: Tensor?
        /// `[tokens, latent + rope]`, the shared key rotated.
        let latent: Tensor
        let out: Tensor
        let logSums: Tensor
    }

    private var heads: CausalAttention {
        let shape = context.configuration
        return CausalAttention(
            heads: shape.headCount, nope: shape.nopeHeadSize, rope: shape.ropeHeadSize,
            value: shape.valueHeadSize, scale: shape.attentionScale,
            sequence: context.sequenceLength)
    }

    private func rotate(_ x: Tensor, _ slices: RotarySlices, inverse: Bool = false) {
        rope(
            x, slices: slices, positions: context.positions(rows: x.rows),
            cosines: context.rotary.cosines, sines: context.rotary.sines, inverse: inverse,
            of: context.configuration.rotaryPairs, pool: context.pool)
    }

    private var querySlices: RotarySlices {
        let shape = context.configuration
        return RotarySlices(
            first: shape.nopeHeadSize, stride: shape.queryHeadSize, count: shape.headCount)
    }

    private var latentColumns: Range<Int> { 0 ..< context.configuration.latentSize }

    func forward(_ input: Tensor) -> (output: Tensor, backward: AttentionBackward) {
        let shape = context.configuration
        let queryLatent = queryA.map { context.linear(input, $0) }
        let latent = context.linear(input, latentDown)
        rotate(latent, RotarySlices(first: shape.latentSize))
        let (q, kv, _, _) = expand(input: input, queryLatent: queryLatent, latent: latent)
        let operands = CausalAttention.Operands(
            q: q, kv: kv, shared: latent,
            out: Tensor(unfilledRows: input.rows, columns: shape.headCount * shape.valueHeadSize),
            logSums: Tensor(unfilledRows: input.rows, columns: shape.headCount))
        heads.forward(operands, pool: context.pool)
        let saved = Saved(
            queryLatent: queryLatent, latent: latent, out: operands.out,
            logSums: operands.logSums)
        return (
            context.linear(operands.out, output),
            { [self] input, dy in backward(saved, input: input, dy: dy) }
        )
    }

    /// Queries, keys and values of all heads, and the normed latents that they came from.
    private func expand(
        input: Tensor, queryLatent: Tensor?, latent: Tensor
    ) -> (q: Tensor, kv: Tensor, queryInput: Tensor, latentInput: Tensor) {
        var queryInput = input
        if let queryLatent, let queryNorm {
            queryInput = context.norm(
                queryLatent, queryNorm, epsilon: LatentAttention.latentEpsilon)
        }
        let q = context.linear(queryInput, queryB)
        rotate(q, querySlices)
        let latentInput = context.norm(
            latent, latentNorm, columns: latentColumns, epsilon: LatentAttention.latentEpsilon)
        return (q, context.linear(latentInput, latentUp), queryInput, latentInput)
    }

    /// The gradient of the input; weight gradients wait, and read dy when they run.
    private func backward(_ saved: Saved, input: Tensor, dy: Tensor) -> Tensor {
        let shape = context.configuration
        let rows = dy.rows
        let (q, kv, queryInput, latentInput) = expand(
            input: input, queryLatent: saved.queryLatent, latent: saved.latent)
        let dOut = Tensor(unfilledRows: rows, columns: saved.out.columns)
        context.linearBackward(saved.out, output, dy: dy, into: dOut)

        let dq = Tensor(unfilledRows: rows, columns: q.columns)
        let dkv = Tensor(unfilledRows: rows, columns: kv.columns)
        let perHead = Tensor(unfilledRows: rows, columns: shape.headCount * shape.ropeHeadSize)
        heads.backward(
            CausalAttention.Operands(
                q: q, kv: kv, shared: saved.latent, out: saved.out, logSums: saved.logSums),
            gradient: dOut, q: dq, kv: dkv, perHead: perHead, pool: context.pool)
        rotate(dq, querySlices, inverse: true)

        let dLatent = Tensor(rows: rows, columns: shape.cacheWidth)
        addSharedKey(perHead, into: dLatent)
        rotate(dLatent, RotarySlices(first: shape.latentSize), inverse: true)
        let dLatentInput = Tensor(unfilledRows: rows, columns: shape.latentSize)
        context.linearBackward(latentInput, latentUp, dy: dkv, into: dLatentInput)
        context.normBackward(
            saved.latent, latentNorm, columns: latentColumns, dy: dLatentInput, addingInto: dLatent,
            epsilon: LatentAttention.latentEpsilon)

        let dInput = Tensor(unfilledRows: rows, columns: shape.hiddenSize)
        context.linearBackward(input, latentDown, dy: dLatent, into: dInput)
        guard let queryA, let queryNorm, let queryLatent = saved.queryLatent else {
            context.linearBackward(input, queryB, dy: dq, into: dInput, accumulate: true)
            return dInput
        }
        let dQueryInput = Tensor(unfilledRows: rows, columns: queryLatent.columns)
        context.linearBackward(queryInput, queryB, dy: dq, into: dQueryInput)
        let dQueryLatent = Tensor(rows: rows, columns: queryLatent.columns)
        context.normBackward(
            queryLatent, queryNorm, dy: dQueryInput, addingInto: dQueryLatent,
            epsilon: LatentAttention.latentEpsilon)
        context.linearBackward(input, queryA, dy: dQueryLatent, into: dInput, accumulate: true)
        return dInput
    }

    /// Sums the shared key's gradient over heads, in their order.
    private func addSharedKey(_ perHead: Tensor, into dLatent: Tensor) {
        let shape = context.configuration
        context.pool.split(perHead.rows) { rows in
            for row in rows {
                let from = perHead.row(row)
                var to = dLatent.mutableRow(row)
                for head in 0 ..< shape.headCount {
                    for column in 0 ..< shape.ropeHeadSize {
                        to[shape.latentSize + column] += from[head * shape.ropeHeadSize + column]
                    }
                }
            }
        }
    }
}
