import Collectives
import Models
import Serving
import Tensors
import Topology
import Transport

/// A network whose blocks compute in virtual time and whose experts are on all ranks: the engine
/// steps it as it steps a model.
final class SimulatedModel: SequenceNetwork {
    let vocabularySize = 16
    let contextLimit: Int
    let blockCount: Int
    let blockTokens = 16
    let endTokens: [Int] = []
    let canDraft = false
    let draftsAlone = true
    var sharesExperts: Bool { shared != nil }

    private let options: ServingSimulationOptions
    private let computing: SimulatedComputing
    /// nil where one rank has all experts.
    let shared: SimulatedGroup?
    private let map: ExpertMap
    private let tokens: Tensor
    private let sums: [Tensor]
    /// Batches so far: each has routing of its own.
    private var batches = 0
    /// Samples that `takeTime` has counted.
    private var counted = 0
    private let progress: SimulationProgress

    init(
        _ options: ServingSimulationOptions, computing: SimulatedComputing,
        shared: SimulatedGroup?, map: ExpertMap, progress: SimulationProgress
    ) {
        self.progress = progress
        self.options = options
        self.computing = computing
        self.shared = shared
        self.map = map
        contextLimit = options.prompt + options.newTokens
        blockCount = options.streams * ((contextLimit + blockTokens - 1) / blockTokens + 1)
        let size = options.cluster.hiddenSize
        tokens = Tensor(rows: options.stepTokens, columns: size)
        sums = (0 ..< 2).map { _ in Tensor(rows: options.stepTokens, columns: size) }
    }

    /// One batch on its way through the blocks.
    private final class Batch {
        let streams: Int
        let promptTokens: Int
        /// Rows whose logits are wanted.
        let wanted: Int
        let sums: Tensor
        let number: Int
        var travel: SimulatedTravel?

        init(_ chunks: [SequenceChunk], sums: Tensor, number: Int) {
            let counts = chunks.map(\.tokens.count)
            streams = counts.count { $0 == 1 }
            promptTokens = counts.filter { $0 > 1 }.reduce(0, +)
            wanted = chunks.count { $0.wanted == .last }
            self.sums = sums.view(rows: 0 ..< counts.reduce(0, +))
            self.number = number
        }

        var rows: Int { streams + promptTokens }
    }

    private func batch(_ chunks: [SequenceChunk], place: Int) -> Batch {
        batches += 1
        return Batch(chunks, sums: sums[place], number: batches)
    }

    /// Attention, then the tokens leave.
    private func attend(_ batch: Batch, block: Int) throws {
        let computed = computing.run(
            .seconds(
                options.attentionSeconds(
                    streams: batch.streams, promptTokens: batch.promptTokens)))
        guard let shared else { return }
        let round = (batch.number &* options.blocks &+ block)
        var exchange = options.cluster
        exchange.tokenCount = batch.rows
        let draw = RoutingDraw(exchange, round: round)
        let rank = computing.fabric.rank.rawValue
        let routing = try Routing(
            tokenCount: batch.rows, topK: options.cluster.topK,
            expertIDs: draw.experts(of: rank))
        let layout = try shared.group.layout(for: routing, in: map, layer: 0)
        let travel = SimulatedTravel(shared, layout, block: block)
        try travel.start(tokens.view(rows: 0 ..< batch.rows), after: computed)
        batch.travel = travel
    }

    /// The experts compute what has come, and their outputs leave.
    private func useExperts(_ batch: Batch) throws {
        try batch.travel?.receive()
        let computed = computing.run(.seconds(options.expertSeconds(rows: batch.rows)))
        try batch.travel?.sendWritten(after: computed)
    }

    private func finish(_ batch: Batch) throws {
        try batch.travel?.finish(addingInto: batch.sums)
        batch.travel = nil
    }

    private func result(_ batch: Batch) -> ForwardResult {
        computing.run(.seconds(options.headSeconds(texts: batch.wanted)))
        // Each text whose logits are wanted gets one token of them.
        progress.add(batch.wanted)
        return ForwardResult(
            logits: Tensor(rows: batch.wanted, columns: vocabularySize), hidden: nil)
    }

    func forward(_ chunks: [SequenceChunk], keepsHidden: Bool) throws -> ForwardResult {
        let one = batch(chunks, place: 0)
        for block in 0 ..< options.blocks {
            try attend(one, block: block)
            try useExperts(one)
            try finish(one)
        }
        return result(one)
    }

    func forward(
        _ first: [SequenceChunk], _ second: [SequenceChunk], keepsHidden: Bool
    ) throws -> (ForwardResult, ForwardResult) {
        let (a, b) = (batch(first, place: 0), batch(second, place: 1))
        for block in 0 ..< options.blocks {
            try attend(a, block: block)
            if block > 0 { try finish(b) }
            try attend(b, block: block)
            try useExperts(a)
            try useExperts(b)
            try finish(a)
        }
        let early = result(a)
        try finish(b)
        return (early, result(b))
    }

    func draft(_ chunks: [SequenceChunk], hidden: Tensor) throws -> ForwardResult {
        preconditionFailure("a simulated model has no MTP block")
    }

    func takeTime() -> StepTime {
        var time = StepTime()
        guard let samples = shared?.samples else { return time }
        for sample in samples[counted...] {
            let length = Double(sample.ended - sample.began) * 1e-9
            if sample.half == .dispatch { time.dispatch += length } else { time.combine += length }
            time.exposed += Double(sample.exposed) * 1e-9
        }
        counted = samples.count
        return time
    }

    func record(to recorder: RankRecorder) {
        if let group = shared?.group { recorder.watch(group) }
    }
}
