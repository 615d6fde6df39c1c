import Collectives
import DeepSeekV3
import Foundation
import Pipeline
import Tensors
import Topology
public import Transport

/// A job, run by one of its ranks from the first or the last saved step to the end.
public struct TrainingRun {
    private let job: TrainingJob
    private let resumes: Bool
    private let progress: @Sendable (String) -> Void

    /// - Parameters:
    ///   - resumes: Whether to go on from the newest checkpoint in the output folder.
    ///   - progress: Receives lines for people, on rank 0.
    public init(
        _ job: TrainingJob, resumes: Bool, progress: @escaping @Sendable (String) -> Void
    ) {
        self.job = job
        self.resumes = resumes
        self.progress = progress
    }

    /// Trains. Collective over the fabric's ranks.
    public func run(fabric: any Fabric, experts: (any Fabric)?) throws {
        let options = try job.options()
        let isFirst = fabric.rank == 0
        let checkpoints = job.output + "/checkpoints"
        if !resumes, let old = TrainingCheckpoint.newest(in: checkpoints) {
            throw TrainingError.checkpoint(
                old,
                fact: "is of an earlier run: --resume goes on from it, another output begins "
                    + "anew")
        }
        if isFirst { _ = try JobText(job, makes: true) }
        try fabric.barrier(deadline: Deadline(.seconds(600), "tokenizing the text"))
        let text = try JobText(job, makes: false)
        let trainer = try RankTrainer(options, fabric: fabric, experts: experts)
        if resumes {
            guard let newest = TrainingCheckpoint.newest(in: checkpoints) else {
                throw TrainingError.checkpoint(checkpoints, fact: "has no checkpoint")
            }
            try trainer.resume(from: newest)
            if isFirst { progress("resumed from step \(trainer.step)") }
        } else if let start = job.startFrom {
            try trainer.start(from: start)
        }
        let log = isFirst ? try MetricsLog(job: job, options: options, from: trainer.step) : nil
        if isFirst { progress(header(options, fabric)) }
        while trainer.step < job.steps {
            let begin = DispatchTime.now().uptimeNanoseconds
            let batch = text.batch(
                step: trainer.step, dataRank: options.shape.dataRank(of: fabric.rank),
                options: options)
            let report = try trainer.run(batch)
            let seconds = Double(DispatchTime.now().uptimeNanoseconds - begin) / 1e9
            var validation: (loss: Double, mtpLoss: Double)?
            let isLast = trainer.step == job.steps
            if !text.validation.isEmpty && (trainer.step % job.validateEvery == 0 || isLast) {
                validation = try trainer.validate(share(text.validation, options, fabric.rank))
            }
            let line = try log?.add(
                step: trainer.step, report, seconds: seconds, trainer: trainer,
                validation: validation)
            if let line { progress(line) }
            if trainer.step % job.checkpointEvery == 0 || isLast {
                try trainer.save(in: checkpoints, keeping: job.keepCheckpoints)
            }
        }
        try writeTimeline(trainer, fabric)
        try log?.finish()
    }

    /// Every data rank validates the same number of documents.
    private func share(
        _ documents: [MicroBatch], _ options: TrainingOptions, _ rank: Rank
    ) -> [MicroBatch] {
        let count = documents.count / options.shape.dataRanks
        let first = options.shape.dataRank(of: rank) * count
        return Array(documents[first ..< first + count])
    }

    private func header(_ options: TrainingOptions, _ fabric: any Fabric) -> String {
        let counts = options.model.parameterCounts
        let shape = options.shape
        return """
            \(counts.total / 1000)K parameters (\(counts.activated / 1000)K per token), \
            \(shape.pipelineRanks) pipeline x \(shape.dataRanks) data ranks, \
            \(shape.schedule.title), \(shape.microBatches) micro-batches, \
            \(options.tokensPerStep) tokens per step, \(options.precision.rawValue)
            """
    }

    /// Gathers what all ranks did in the last step and draws it under the plan.
    private func writeTimeline(_ trainer: RankTrainer, _ fabric: any Fabric) throws {
        guard fabric.rankCount > 1 else { return }
        let own = try JSONEncoder().encode(trainer.entries)
        let all = try fabric.allGather(
            Array(own), label: "timeline", deadline: Deadline(.seconds(60), "timeline"))
        guard fabric.rank == 0 else { return }
        let ranks = trainer.options.shape.pipelineRanks
        let entries = try all.prefix(ranks).flatMap {
            try JSONDecoder().decode([TimelineEntry].self, from: Data($0))
        }
        let title = "\(trainer.schedule.kind.title), measured in step \(trainer.step), seconds"
        let measured = Timeline.measured(title: title, rankCount: ranks, entries)
        try JSONEncoder().encode(measured).write(to: URL(filePath: job.output + "/timeline.json"))
        try Timeline.svg([measured])
            .write(toFile: job.output + "/timeline.svg", atomically: true, encoding: .utf8)
    }
}
