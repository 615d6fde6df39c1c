import Models

/// Memory of a step that does not grow with the blocks.
struct ShareWorkingMemory {
    /// Rows that travel in bf16: sent, copied, arrived, made here and brought home.
    let windows: Int
    /// Inputs of this rank's experts and their hidden values, in f32.
    let experts: Int
    /// Activations of this rank's tokens, and the logits.
    let activations: Int

    /// What limits are measured in, and scratch of attention and products.
    private static let scratchBytes = 1 << 30

    /// Bytes of all of them.
    var byteCount: Int { windows + experts + activations + Self.scratchBytes }

    /// Draws the choices of one block: where routing is uneven, the measured rank gets many times
    /// the rows of an even share. Blocks differ by chance, by less than what stays free.
    init(_ options: ShareOptions) throws {
        let model = options.model
        let tokens = max(options.batch, options.prefill)
        let layer = (0 ..< model.layerCount).first { model.hasExperts(layer: $0) } ?? 0
        let traffic = try ShareDraw(options).traffic(tokens: tokens, layer: layer)
        let here = traffic.allRows(ofExperts: model.routedExpertCount / options.ranks)
            .reduce(0, +)
        let hidden = model.hiddenSize
        // Each token is sent once; at most every choice of it is a copy, and an output from home.
        let own = tokens * (1 + 2 * model.activeExpertCount)
        windows = (own + traffic.arrivedTokens + here) * 2 * hidden
        experts = here * (model.expertIntermediateSize + hidden) * 4
        // One row of seven is what products make of their inputs where they do not take bf16.
        let values = tokens * (7 * hidden + 3 * model.intermediateSize)
        activations = (values + options.batch * model.vocabularySize) * 4
    }
}
