package import Checkpoints
import Models
import Planner
import Tensors

/// Makes one rank's share of a model of random weights in memory and steps it with the volumes that
/// all ranks would bring.
package struct ShareBenchmark {
    private let options: ShareOptions
    private let layout: ShareLayout

    /// Chooses the blocks; nothing is made yet.
    ///
    /// - Parameter free: Bytes that may be used.
    /// - Throws: `PlanError` for sizes that do not fit the model or the memory; `ModelError` for a
    ///   format that the family has not.
    package init(_ options: ShareOptions, free: Int = ResidentMemory.free) throws {
        try options.validate()
        self.options = options
        layout = try ShareLayout(options, free: free)
    }

    /// In a line, before memory is used.
    package var summary: String {
        let memory = layout.memory
        let bytes = Figure.text(Double(memory.weights + memory.head + memory.cache), .bytes)
        return "\(layout.layers.count) of \(options.model.layerCount) blocks of \(options.name), "
            + "one of \(options.ranks) ranks: \(bytes) of weights and cache, "
            + "\(Figure.text(Double(memory.free), .bytes)) free"
    }

    /// Measures everything.
    ///
    /// - Parameters:
    ///   - loading: How far the weights are.
    ///   - note: Says what is measured now.
    package func run(
        loading: ((LoadProgress) -> Void)? = nil, note: (String) -> Void = { _ in }
    ) throws -> ShareReport {
        let pool = ThreadPool(threads: options.threads)
        let model = try layout.random.make(pool: pool, progress: loading)
        let steps = ShareSteps(model, options)
        note("limits of the machine")
        let before = Self.limits(pool)
        var prefill: ShareReport.Phase?
        if options.prefill > 0 {
            prefill = try measure(
                steps, tokens: options.prefill, rounds: min(3, options.repetitions),
                limits: before, note: { note("prefill \($0)") }
            ) { try steps.prefill() }
        }
        steps.fillCache()
        var decode = try measure(
            steps, tokens: options.batch, rounds: options.repetitions, limits: before,
            note: { note("decode \($0)") }
        ) { try steps.decode() }
        note("limits of the machine")
        let limits = before.better(Self.limits(pool))
        decode.setLimits(limits)
        prefill?.setLimits(limits)
        var memory = layout.memory
        memory.resident = ResidentMemory.now
        return report(memory, limits, decode, prefill, isFinite: steps.isFinite)
    }

    private static func limits(_ pool: ThreadPool) -> ShareReport.Limits {
        ShareReport.Limits(
            readBytesPerSecond: Limits.readBandwidth(pool: pool, rounds: 3),
            operationsPerSecond: Limits.peakFMA(compute: .bfloat16, pool: pool, rounds: 3),
            wideOperationsPerSecond: Limits.peakFMA(compute: .float32, pool: pool, rounds: 3))
    }

    /// What the ranks choose in every block that was made.
    private func traffic(tokens: Int) throws -> [RankShare.Traffic?] {
        let draw = try ShareDraw(options)
        return try layout.layers.map { layer in
            guard options.model.hasExperts(layer: layer) else { return nil }
            return try draw.traffic(tokens: tokens, layer: layer)
        }
    }

    /// Repeats a step and takes its parts apart.
    private func measure(
        _ steps: ShareSteps, tokens: Int, rounds: Int, limits: ShareReport.Limits,
        note: (String) -> Void, _ step: () throws -> Void
    ) throws -> ShareReport.Phase {
        let traffic = try traffic(tokens: tokens)
        steps.model.rankShare?.traffic = traffic
        // One step more than is measured: the first touches memory.
        note("warm-up")
        try step()
        let times = ForwardTimes()
        steps.model.times = times
        defer { steps.model.times = nil }
        var seconds: [Double] = []
        for round in 1 ... rounds {
            note("step \(round) of \(rounds)")
            let start = ContinuousClock.now
            try step()
            seconds.append((.now - start) / .seconds(1))
            steps.check()
        }
        let volumes = ShareVolumes(traffic, tokens: tokens, options, steps.model.rankShare)
        return ShareReport.Phase(
            options, layout, times, volumes: volumes, steps: seconds, limits: limits)
    }

    private func report(
        _ memory: ShareReport.Memory, _ limits: ShareReport.Limits, _ decode: ShareReport.Phase,
        _ prefill: ShareReport.Phase?, isFinite: Bool
    ) -> ShareReport {
        let prediction = options.cluster.map {
            SharePrediction(options, $0, decode: decode, prefill: prefill)
        }
        return ShareReport(
            request: ShareReport.Request(
                model: options.name, ranks: options.ranks,
                expertsPerRank: options.model.routedExpertCount / options.ranks,
                batch: options.batch, context: options.context, prefill: options.prefill,
                format: options.format.rawValue, routing: "\(options.pattern)",
                threads: options.threads, processor: Processor.inUse.rawValue,
                seed: options.seed),
            memory: memory, limits: limits, decode: decode, prefill: prefill,
            topology: options.cluster?.file, cluster: prediction?.figures ?? [],
            omissions: Self.omissions
                + (prediction == nil ? [] : SharePrediction.omissions(options)),
            isFinite: isFinite)
    }

    /// What a share leaves out, whatever the cluster.
    private static let omissions = [
        "waiting for other ranks, and posting or copying what a transport sends",
        "ranks of a node that compute the head together: each computes all of it here",
        "sampling, the scheduler, HTTP, and drafts of an MTP block",
        "real weights: random ones take the same time, and their texts mean nothing",
        "blocks that were not made are taken to be as fast as those of their kind",
    ]
}
