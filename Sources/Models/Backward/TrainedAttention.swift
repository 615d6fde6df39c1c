import Tensors

/// Multi-head latent attention while it trains, keys and values expanded from the latent.
///
/// Of a forward it keeps the input, the latents before their norms, the output of the heads and the
/// sums of the softmax. Norms and up-projections are computed again in the backward.
///
/// Source: DeepSeek-V3 report, §2.1.1; recomputation, §3.2.3.
public final class TrainedAttention {
    /// Of the norms inside attention, whatever the configuration says of the others.
    private static let latentEpsilon: Float = 1e-6

    let context: TrainingContext
    let inputNorm: Parameter
    let queryA: Parameter?
    let queryNorm: Parameter?
    let queryB: Parameter
    let latentDown: Parameter
    let latentNorm: Parameter
    let latentUp: Parameter
    let output: Parameter

    init(layer: Int, context: TrainingContext) {
        let shape = context.configuration
        let prefix = "model.layers.\(layer)."
        let attention = prefix + "self_attn."
        func matrix(_ name: String, _ rows: Int, _ columns: Int) -> Parameter {
            Parameter(name: attention + name + ".weight", rows: rows, columns: columns)
        }
        func vector(_ name: String, _ columns: Int) -> Parameter {
            Parameter(name: name + ".weight", rows: 1, columns: columns, isVector: true)
        }
        self.context = context
        let queryWidth = shape.headCount * shape.queryHeadSize
        inputNorm = vector(prefix + "input_layernorm", shape.hiddenSize)
        if let latent = shape.queryLatentSize {
            queryA = matrix("q_a_proj", latent, shape.hiddenSize)
            queryNorm = vector(attention + "q_a_layernorm", latent)
            queryB = matrix("q_b_proj", queryWidth, latent)
        } else {
            queryA = nil
            queryNorm = nil
            queryB = matrix("q_proj", queryWidth, shape.hiddenSize)
        }
        latentDown = matrix("kv_a_proj_with_mqa", shape.cacheWidth, shape.hiddenSize)
        latentNorm = vector(attention + "kv_a_layernorm", shape.latentSize)
        latentUp = matrix(
            "kv_b_proj", shape.headCount * (shape.nopeHeadSize + shape.valueHeadSize),
            shape.latentSize)
        output = matrix("o_proj", shape.hiddenSize, shape.headCount * shape.valueHeadSize)
    }

    var parameters: [Parameter] {
        [inputNorm, queryA, queryNorm, queryB, latentDown, latentNorm, latentUp, output]
            .compactMap { $0 }
    }

    /// What the backward of one micro-batch needs.
    public struct Saved {
        let x: Tensor
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
            pool: context.pool)
    }

    private var querySlices: RotarySlices {
        let shape = context.configuration
        return RotarySlices(
            first: shape.nopeHeadSize, stride: shape.queryHeadSize, count: shape.headCount)
    }

    private var latentColumns: Range<Int> { 0 ..< context.configuration.latentSize }

    /// Returns x + attention(norm(x)), and what the backward needs.
    func forward(_ x: Tensor) -> (Tensor, Saved) {
        let shape = context.configuration
        let normed = context.norm(x, inputNorm)
        let queryLatent = queryA.map { context.linear(normed, $0) }
        let latent = context.linear(normed, latentDown)
        rotate(latent, RotarySlices(first: shape.latentSize))
        let (q, kv, _, _) = expand(normed: normed, queryLatent: queryLatent, latent: latent)
        let pass = CausalAttention.Pass(
            q: q, kv: kv, shared: latent,
            out: Tensor(unfilledRows: x.rows, columns: shape.headCount * shape.valueHeadSize),
            logSums: Tensor(unfilledRows: x.rows, columns: shape.headCount))
        heads.forward(pass, pool: context.pool)
        let y = context.linear(pass.out, output)
        add(x, into: y, pool: context.pool)
        let saved = Saved(
            x: x, queryLatent: queryLatent, latent: latent, out: pass.out, logSums: pass.logSums)
        return (y, saved)
    }

    /// Queries, keys and values of all heads, and the normed latents that they came from.
    private func expand(
        normed: Tensor, queryLatent: Tensor?, latent: Tensor
    ) -> (q: Tensor, kv: Tensor, queryInput: Tensor, latentInput: Tensor) {
        var queryInput = normed
        if let queryLatent, let queryNorm {
            queryInput = context.norm(queryLatent, queryNorm, epsilon: Self.latentEpsilon)
        }
        let q = context.linear(queryInput, queryB)
        rotate(q, querySlices)
        let latentInput = context.norm(
            latent, latentNorm, columns: latentColumns, epsilon: Self.latentEpsilon)
        return (q, context.linear(latentInput, latentUp), queryInput, latentInput)
    }

    /// Adds to dy, the gradient of the output, what reaches the input; weight gradients wait.
    func backward(_ saved: Saved, dy: Tensor) {
        let shape = context.configuration
        let rows = dy.rows
        let normed = context.norm(saved.x, inputNorm)
        let (q, kv, queryInput, latentInput) = expand(
            normed: normed, queryLatent: saved.queryLatent, latent: saved.latent)
        let dOut = Tensor(unfilledRows: rows, columns: saved.out.columns)
        // The weight gradient waits while dy goes on changing, so it keeps its own copy.
        let dyHere = Tensor(unfilledRows: rows, columns: dy.columns)
        dyHere.copy(from: dy)
        context.linearBackward(saved.out, output, dy: dyHere, into: dOut)

        let dq = Tensor(unfilledRows: rows, columns: q.columns)
        let dkv = Tensor(unfilledRows: rows, columns: kv.columns)
        let perHead = Tensor(unfilledRows: rows, columns: shape.headCount * shape.ropeHeadSize)
        heads.backward(
            CausalAttention.Pass(
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
            epsilon: Self.latentEpsilon)

        let dNormed = Tensor(unfilledRows: rows, columns: shape.hiddenSize)
        context.linearBackward(normed, latentDown, dy: dLatent, into: dNormed)
        if let queryA, let queryNorm, let queryLatent = saved.queryLatent {
            let dQueryInput = Tensor(unfilledRows: rows, columns: queryLatent.columns)
            context.linearBackward(queryInput, queryB, dy: dq, into: dQueryInput)
            let dQueryLatent = Tensor(rows: rows, columns: queryLatent.columns)
            context.normBackward(
                queryLatent, queryNorm, dy: dQueryInput, addingInto: dQueryLatent,
                epsilon: Self.latentEpsilon)
            context.linearBackward(
                normed, queryA, dy: dQueryLatent, into: dNormed, accumulate: true)
        } else {
            context.linearBackward(normed, queryB, dy: dq, into: dNormed, accumulate: true)
        }
        context.normBackward(saved.x, inputNorm, dy: dNormed, addingInto: dy)
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
