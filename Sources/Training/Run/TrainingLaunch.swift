import Foundation
public import Transport

/// How a training job is to be run, as its launcher passes it to every rank.
public struct TrainingLaunch: Codable, Hashable, Sendable {
    /// Whether to go on from the newest checkpoint in the output folder.
    public var resumes = false
    /// Whether to measure a few steps and leave the weights alone, instead of training.
    public var profiles = false
    /// What is measured then.
    public var profile = ProfileOptions()

    /// Training from the start.
    public init() {}

    /// Checks whether the run can begin, before ranks are started for it.
    ///
    /// - Throws: `TrainingError.checkpoint` where there is nothing to resume, or where a run that
    ///   begins would write over an earlier one.
    public func check(_ job: TrainingJob) throws(TrainingError) {
        guard !profiles else { return }
        _ = try TrainingCheckpoint.start(of: job, resumes: resumes)
    }

    /// Runs the job as one of its ranks. Collective over the fabric's ranks.
    ///
    /// - Parameter experts: The ranks that share this rank's experts, if any do.
    public func run(
        _ job: TrainingJob, observer: TrainingObserver, fabric: any Fabric,
        experts: (any Fabric)?
    ) throws {
        if profiles {
            try ProfileRun(job, profile, observer).run(fabric: fabric, experts: experts)
        } else {
            try TrainingRun(job, resumes: resumes, observer: observer)
                .run(fabric: fabric, experts: experts)
        }
    }

    /// Runs all ranks of the job as threads of this process.
    public func runInThreads(_ job: TrainingJob, observer: TrainingObserver) throws {
        try job.shape().runInThreads { place in
            try run(job, observer: observer, fabric: place.fabric, experts: place.experts)
        }
    }
}
