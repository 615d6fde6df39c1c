import Collectives
import Foundation
import Models
import Pipeline
import Tensors
import Topology
import Transport

/// A job, run by one of its ranks from the first or the last saved step to the end.
struct TrainingRun {
    private let job: TrainingJob
    private let resumes: Bool
    private let observer: TrainingObserver

    /// - Parameter resumes: Whether to go on from the newest checkpoint in the output folder.
    init(_ job: TrainingJob, resumes: Bool, observer: TrainingObserver) {
        self.job = job
        self.resumes = resumes
        self.observer = observer
    }

    /// Trains. Collective over the fabric's ranks.
    func run(fabric: any Fabric, experts: (any Fabric)?) throws {
        let options = try job.options()
        let isFirst = fabric.rank == 0
        let lock = isFirst ? try OutputFolder.take(job.output) : nil
        defer { withExtendedLifetime(lock) {} }
        let start = try TrainingCheckpoint.start(of: job, resumes: resumes)
        let log = isFirst ? try RunLog(job, observer) : nil
        if isFirst { _ = try JobText(job, makes: true) }
        try fabric.barrier(deadline: fabric.deadline(.seconds(600), "tokenizing the text"))
        let text = try JobText(job, makes: false)
        let trainer = try RankTrainer(options, fabric: fabric, experts: experts)
        if let start {
            try trainer.resume(from: start)
            try log?.say(
                "resumed from step \(trainer.step)"
                    + (trainer.step < job.steps ? "" : ": all \(job.steps) steps are done"))
        } else if let start = job.startFrom {
            try trainer.start(from: start)
        }
        let peak = try peakOperationsPerSecond(options, fabric)
        let metrics =
            isFirst
            ? try MetricsLog(job: job, options: options, from: trainer.step, peak: peak) : nil
        try log?.say(header(options, fabric, peak))
        observer.began()
        try steps(trainer, text, metrics, log)
        try writeTimeline(trainer, fabric)
        try metrics?.finish()
    }

    private var checkpoints: String { job.output + "/checkpoints" }

    private func steps(
        _ trainer: RankTrainer, _ text: JobText, _ metrics: MetricsLog?, _ log: RunLog?
    ) throws {
        let options = trainer.options
        let fabric = trainer.fabric
        while trainer.step < job.steps {
            let begin = DispatchTime.now().uptimeNanoseconds
            let batch = text.batch(
                step: trainer.step, dataRank: options.shape.dataRank(of: fabric.rank),
                options: options)
            let tokens = options.tokens(step: trainer.step)
            let report = try trainer.run(batch)
            let seconds = Double(DispatchTime.now().uptimeNanoseconds - begin) / 1e9
            var validation: (loss: Double, mtpLoss: Double)?
            // Before the validation, whose exchanges are none of the step's.
            let exchange = trainer.exchangeTimes
            let isLast = trainer.step == job.steps
            if !text.validation.isEmpty && (trainer.step % job.validateEvery == 0 || isLast) {
                validation = try trainer.validate(share(text.validation, options, fabric.rank))
            }
            observer.stepped(
                TrainingObserver.Step(
                    number: trainer.step, seconds: seconds,
                    tokensPerSecond: Double(tokens) / seconds,
                    allToAllShare: min(1, exchange.total / seconds),
                    hiddenShare: exchange.hiddenShare))
            let line = try metrics?.add(
                step: trainer.step, report, tokens: tokens, seconds: seconds, exchange: exchange,
                entries: trainer.entries, validation: validation)
            if let line { try log?.say(line) }
            if trainer.step % job.checkpointEvery == 0 || isLast {
                try trainer.save(in: checkpoints, keeping: job.keepCheckpoints)
            }
        }
    }

    /// Every data rank validates the same number of documents.
    private func share(
        _ documents: [MicroBatch], _ options: TrainingOptions, _ rank: Rank
    ) -> [MicroBatch] {
        let count = documents.count / options.shape.dataRanks
        let first = options.shape.dataRank(of: rank) * count
        return Array(documents[first ..< first + count])
    }

    /// What the threads of all ranks multiply and add together at best, measured by all at once,
    /// so that ranks that share a core count it once.
    private func peakOperationsPerSecond(
        _ options: TrainingOptions, _ fabric: any Fabric
    ) throws -> Double {
        let pool = ThreadPool(threads: options.threads)
        let compute: Compute = options.precision == .float32 ? .float32 : .bfloat16
        try fabric.barrier(deadline: fabric.deadline(.seconds(60), "measuring the peak rate"))
        let own = Limits.peakFMA(compute: compute, pool: pool, rounds: 3)
        let all = try fabric.allGather(
            Array("\(own)".utf8), label: "peak rate",
            deadline: fabric.deadline(.seconds(60), "measuring the peak rate"))
        return all.reduce(0) { $0 + (Double(String(decoding: $1, as: UTF8.self)) ?? 0) }
    }

    private func header(
        _ options: TrainingOptions, _ fabric: any Fabric, _ peak: Double
    ) -> String {
        let counts = options.model.parameterCounts
        let shape = options.shape
        return """
            \(counts.total / 1000)K parameters (\(counts.activated / 1000)K per token), \
            \(shape.pipelineRanks) pipeline x \(shape.dataRanks) data ranks, \
            \(shape.schedule.title), \(shape.microBatches) micro-batches, \
            \(options.tokensPerStep) tokens per step, \(options.precision.rawValue); \
            peak \(Int(peak / 1e9)) GFLOP/s; output \(job.output)
            """
    }

    /// Gathers what all ranks did in the last step and draws it under the plan that the same step
    /// times make.
    private func writeTimeline(_ trainer: RankTrainer, _ fabric: any Fabric) throws {
        guard fabric.rankCount > 1 else { return }
        let measured = try MeasuredStep.gather(trainer, fabric)
        guard fabric.rank == 0 else { return }
        try measured.write(to: job.output, name: "timeline")
    }
}
