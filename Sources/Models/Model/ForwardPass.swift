import Collectives
import Tensors

/// One batch on its way through the blocks, in phases that another batch may interleave with.
///
/// A block with experts is `attend`, `useRoutedExperts`, `finish`, in this order: after the first
/// tokens travel, after the second outputs. `useSharedExperts` belongs after either. A batch alone
/// does so while tokens travel, and waits less for a rank that is late; one of two does so while
/// outputs travel, which are up to top-k times as many bytes. A dense block does everything in
/// `attend`.
final class ForwardPass {
    private let model: Model
    private let work: Workspace
    private let cache: LatentCache
    /// The ranks that share this pass's experts, and where those are; nil where all are here.
    private let shared: SharedExperts?
    let rows: BatchRows
    /// Tokens at home, sorted, where all experts are here.
    private var sorted: LocalExperts.Sorted?
    /// Tokens on their way to the experts of other ranks.
    private var departing: DispatchInFlight?
    /// Outputs on their way home.
    private var returning: CombineInFlight?

    init(
        _ model: Model, rows: BatchRows, cache: LatentCache, work: Workspace,
        shared: SharedExperts?
    ) {
        self.model = model
        self.rows = rows
        self.cache = cache
        self.work = work
        self.shared = shared
        work.reserve(rows: max(rows.tokens.count, 1))
    }

    /// Whether other ranks take part.
    var isCollective: Bool { shared != nil }
    private var group: ExpertParallelGroup? { shared?.group }

    /// `[rows, hidden]`.
    var stream: Tensor { work.stream.view(rows: 0 ..< rows.tokens.count) }

    private var configuration: ModelConfiguration { model.configuration }
    private var pool: ThreadPool { model.pool }
    private var normed: Tensor { work.normed.view(rows: 0 ..< rows.tokens.count) }
    private var output: Tensor { work.output.view(rows: 0 ..< rows.tokens.count) }

    /// Fills the residual stream with the tokens' embeddings.
    func embed() { model.embed(rows.tokens, into: stream) }

    /// Attention, then the gate and the departure of tokens; or the whole dense network.
    func attend(_ weights: LayerWeights, layer: Int) throws {
        let isEmpty = rows.tokens.isEmpty
        if !isEmpty {
            model.attention.run(
                weights.attention, rows: rows, store: cache.stores[layer], in: work)
            try group?.advance()
            model.work.add(weights.attention.count, rows: rows.tokens.count)
            model.work.add(
                rows.attention, store: cache.stores[layer], heads: configuration.headCount)
            rmsNorm(
                stream, weight: weights.feedForwardNorm, epsilon: configuration.normEpsilon,
                into: normed, pool: pool)
        }
        switch weights.feedForward {
        case .dense(let network):
            guard !isEmpty else { return }
            expertLayer(normed, network, into: output, compute: model.compute, pool: pool)
            add(output, into: stream, pool: pool)
            model.work.add(WeightCount(network), rows: rows.tokens.count)
        case .experts(let experts):
            let chosen = chooseExperts(experts, layer: layer)
            guard let shared else {
                sorted = model.localExperts.sort(chosen)
                return
            }
            let weights = work.gateWeights.view(rows: 0 ..< rows.tokens.count).values
            let routing = try Routing(
                tokenCount: rows.tokens.count, topK: configuration.activeExpertCount,
                expertIDs: chosen, weights: weights)
            departing = try shared.group.dispatch(
                normed, routing: routing, in: shared.map, layer: layer)
        }
        if case .dense = weights.feedForward { model.probe?(.hidden(layer: layer, stream)) }
    }

    /// The shared experts, while tokens or outputs travel.
    func useSharedExperts(_ weights: LayerWeights) throws {
        try group?.advance()
        guard case .experts(let experts) = weights.feedForward, let shared = experts.shared,
            !rows.tokens.isEmpty
        else { return }
        expertLayer(normed, shared, into: output, compute: model.compute, pool: pool)
        add(output, into: stream, pool: pool)
        model.work.add(WeightCount(shared), rows: rows.tokens.count)
    }

    /// The routed experts of this rank, then the departure of their outputs.
    func useRoutedExperts(_ weights: LayerWeights) throws {
        guard case .experts(let experts) = weights.feedForward else { return }
        if let sorted {
            let count = sorted.tokens.count
            work.reserveExperts(rows: count)
            gatherRows(normed, rows: sorted.tokens, into: work.expertInputs, pool: pool)
            run(experts.routed, offsets: sorted.offsets, rows: count)
        } else if let group, let arriving = departing.take() {
            let received = try arriving.wait()
            let count = received.rowCount
            work.reserveExperts(rows: count)
            received.gather(into: work.expertInputs)
            run(experts.routed, offsets: received.expertOffsets, rows: count)
            try group.advance()
            returning = try group.combine(
                work.expertOutputs.view(rows: 0 ..< count), for: received)
        }
    }

    /// Runs experts over the rows that are theirs.
    private func run(_ experts: [ExpertWeights], offsets: [Int], rows count: Int) {
        guard count > 0 else { return }
        let start = ContinuousClock.now
        defer { model.expertTime += .now - start }
        for (index, expert) in experts.enumerated() {
            model.work.add(WeightCount(expert), rows: offsets[index + 1] - offsets[index])
        }
        expertLayer(
            work.expertInputs.view(rows: 0 ..< count), offsets: offsets, experts: experts,
            into: work.expertOutputs.view(rows: 0 ..< count), compute: model.compute, pool: pool)
    }

    /// Brings the outputs of the routed experts home.
    func finish(_ weights: LayerWeights, layer: Int) throws {
        guard case .experts = weights.feedForward else { return }
        if let sorted = sorted.take() {
            model.localExperts.combine(
                work.expertOutputs, sorted, weights: work.gateWeights, addingInto: stream)
        } else if let home = returning.take() {
            try home.wait(addingInto: stream)
        }
        model.probe?(.hidden(layer: layer, stream))
    }

    /// Scores the rows and chooses their experts, always in fp32 (the gate decides, so rounding
    /// there would change the network).
    private func chooseExperts(_ experts: ExpertLayerWeights, layer: Int) -> [Int32] {
        let count = rows.tokens.count
        var chosen = [Int32](repeating: 0, count: count * configuration.activeExpertCount)
        guard count > 0 else { return chosen }
        let logits = work.gateLogits.view(rows: 0 ..< count)
        let weights = work.gateWeights.view(rows: 0 ..< count)
        linear(normed, experts.gate, into: logits, compute: .float32, pool: pool)
        let observed = model.probe.map { _ in logits.values }
        gate(
            logits, rule: model.gateRule, bias: experts.bias, experts: &chosen, into: weights,
            pool: pool)
        model.count(chosen, layer: layer)
        model.work.add(WeightCount([experts.gate]), rows: count)
        if let observed {
            model.probe?(
                .gate(layer: layer, logits: observed, experts: chosen, weights: weights.values))
        }
        return chosen
    }
}

/// What a test may look at inside a forward pass.
enum ForwardProbe {
    /// The residual stream after a block (or the embeddings, as block -1).
    case hidden(layer: Int, Tensor)
    /// What the gate of a block saw and chose.
    case gate(layer: Int, logits: [Float], experts: [Int32], weights: [Float])
}
