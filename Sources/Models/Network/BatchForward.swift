import Collectives
import Tensors
import Topology

/// One batch's forward through the blocks, in phases that another batch may interleave with.
///
/// A block with experts is `attend`, `useRoutedExperts`, `finish`, in this order: after the first
/// tokens travel, after the second outputs. `useSharedExperts` belongs after either. A batch alone
/// does so while tokens travel, and waits less for a rank that is late; one of two does so while
/// outputs travel, which are up to top-k times as many bytes. A dense block does everything in
/// `attend`.
final class BatchForward {
    private let model: Model
    private let work: Workspace
    private let cache: BlockCache
    /// The ranks that share this batch's experts, and where those are; nil where all are here.
    private let shared: SharedExperts?
    /// How the products are computed that every row needs.
    private let products: BatchProducts
    let rows: BatchRows
    /// The batch's way to the experts of the block under way.
    private var exchange: (any ServingExchange)?

    init(
        _ model: Model, rows: BatchRows, cache: BlockCache, work: Workspace,
        shared: SharedExperts?, node: (group: TensorParallelGroup, leader: Rank)? = nil
    ) {
        products = BatchProducts(node, compute: model.compute, pool: model.pool)
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

    private func norm(_ weight: Tensor) {
        rmsNorm(
            stream, weight: weight, epsilon: configuration.normEpsilon, into: normed, pool: pool)
    }

    /// Attention, then the gate and the departure of tokens; or the whole dense network.
    func attend(_ weights: LayerWeights, layer: Int) throws {
        if hasProducts {
            try model.timing(.attention, layer) { try runAttention(weights, layer) }
        }
        switch weights.feedForward {
        case .dense(let network):
            try model.timing(.dense, layer) { try useWholly(network, layer) }
            model.probe?(.hidden(layer: layer, stream))
        case .experts(let experts):
            let routing = try model.timing(.gate, layer) {
                try chooseExperts(experts, layer: layer)
            }
            try model.timing(.dispatch, layer) {
                let exchange = try exchange(along: routing, layer: layer)
                try exchange.start(normed)
                self.exchange = exchange
            }
        }
    }

    private func runAttention(_ weights: LayerWeights, _ layer: Int) throws {
        let store = cache.stores[layer]
        norm(weights.inputNorm)
        try weights.attention.run(
            normed, rows, block: (layer, store), products: products, into: output)
        add(output, into: stream, pool: pool)
        try group?.advance()
        model.work.add(weights.attention.weightCount, rows: rows.tokens.count)
        model.work.add(weights.attention.work(rows, store: store))
        norm(weights.feedForwardNorm)
    }

    /// Whether this rank has products to compute, for rows of its own or of its node's leader.
    private var hasProducts: Bool { !rows.tokens.isEmpty || products.areShared }

    /// Adds what a network that every row uses makes of the normed rows.
    private func useWholly(_ network: ExpertWeights, _ layer: Int) throws {
        guard hasProducts else { return }
        try products.useWholly(network, normed, into: output, layer: layer)
        add(output, into: stream, pool: pool)
        model.work.add(WeightCount(network), rows: rows.tokens.count)
    }

    private func exchange(along routing: Routing, layer: Int) throws -> any ServingExchange {
        if let shared {
            let layout = try shared.group.layout(for: routing, in: shared.map, layer: layer)
            return GroupExchange(layout: layout, forward: shared.group)
        }
        if let share = model.rankShare { return try share.exchange(along: routing, layer: layer) }
        return LocalExchange(
            routing, expertCount: configuration.routedExpertCount,
            memory: work.expertOutputs(rows:), pool: pool)
    }

    /// The shared experts, while tokens or outputs travel.
    func useSharedExperts(_ weights: LayerWeights, layer: Int) throws {
        try group?.advance()
        guard case .experts(let experts) = weights.feedForward, let shared = experts.shared else {
            return
        }
        try model.timing(.shared, layer) { try useWholly(shared, layer) }
    }

    /// The routed experts of this rank, then the departure of their outputs.
    func useRoutedExperts(_ weights: LayerWeights, layer: Int) throws {
        guard case .experts(let experts) = weights.feedForward, let exchange else { return }
        try model.timing(.routed, layer) {
            try exchange.compute { run(experts.routed, $0) }
        }
    }

    /// Runs experts over the rows that are theirs.
    private func run(_ experts: [ExpertWeights], _ rows: ExpertRows) {
        guard rows.inputs.count > 0 else { return }
        let start = ContinuousClock.now
        defer { model.expertTime += .now - start }
        for (index, expert) in experts.enumerated() {
            model.work.add(
                WeightCount(expert), rows: rows.offsets[index + 1] - rows.offsets[index])
        }
        expertLayer(
            rows.inputs, offsets: rows.offsets, experts: experts, into: rows.outputs,
            compute: model.compute, pool: pool)
    }

    /// Brings the outputs of the routed experts home.
    func finish(_ weights: LayerWeights, layer: Int) throws {
        guard case .experts = weights.feedForward else { return }
        try model.timing(.combine, layer) { try exchange.take()?.finish(addingInto: stream) }
        model.probe?(.hidden(layer: layer, stream))
    }

    /// Scores the rows and chooses their experts, always in fp32 (the gate decides, so rounding
    /// there would change the network).
    private func chooseExperts(_ experts: ExpertLayerWeights, layer: Int) throws -> Routing {
        let (count, topK) = (rows.tokens.count, configuration.activeExpertCount)
        guard count > 0 else { return .empty(topK: topK) }
        var chosen = [Int32](repeating: 0, count: count * topK)
        let logits = work.gateLogits.view(rows: 0 ..< count)
        let weights = work.gateWeights.view(rows: 0 ..< count)
        linear(normed, experts.gate, into: logits, compute: .float32, pool: pool)
        let observed = model.probe.map { _ in logits.values }
        gate(
            logits, rule: model.gateRule, bias: experts.bias, experts: &chosen, into: weights,
            pool: pool)
        model.work.add(WeightCount([experts.gate]), rows: count)
        if isCollective { model.expertCounter.add(chosen, layer: layer) }
        if let observed {
            model.probe?(
                .gate(layer: layer, logits: observed, experts: chosen, weights: weights.values))
        }
        if let drawn = model.rankShare?.routing(layer: layer) { return drawn }
        return try Routing(
            tokenCount: count, topK: topK, expertIDs: chosen, weights: weights.values)
    }
}

extension Compute {
    /// How rows travel to the experts and back: as the experts round them anyway.
    var codec: RowCodec { self == .float32 ? .float32 : .bfloat16 }
}

/// What a test may see inside a forward.
enum ForwardProbe {
    /// The residual stream after a block (or the embeddings, as block -1).
    case hidden(layer: Int, Tensor)
    /// What the gate of a block saw and chose.
    case gate(layer: Int, logits: [Float], experts: [Int32], weights: [Float])
}
