import Foundation
public import Transport

/// How a training job is to be run, as whoever launches it tells every rank.
public struct TrainingLaunch: Codable, Hashable, Sendable {
    /// Whether to go on from the newest checkpoint in the output folder.
    public var resumes = false
    /// Whether to measure a few steps and leave the weights alone, instead of training.
    public var profiles = false
    /// What is measured then.
    public var profile = ProfileOptions()

    /// Training from the start.
    public init() {}

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
}

/// Who watches a rank train.
public struct TrainingObserver: Sendable {
    /// One step of this rank.
    public struct Step: Sendable {
        /// Steps done, this one included.
        public var number: Int
        /// What it took.
        public var seconds: Double
        /// Of all ranks.
        public var tokensPerSecond: Double
        /// Dispatches and combines of this rank, as a share of the step.
        public var allToAllShare: Double
        /// What of them computation hid.
        public var hiddenShare: Double
    }

    /// Text and layers are there, steps begin.
    public var began: @Sendable () -> Void
    /// A step ended.
    public var stepped: @Sendable (Step) -> Void
    /// A line for people, on rank 0; the run's log has it too. What it throws ends the run.
    public var said: @Sendable (String) throws -> Void

    /// An observer of what is given.
    public init(
        began: @escaping @Sendable () -> Void = {},
        stepped: @escaping @Sendable (Step) -> Void = { _ in },
        said: @escaping @Sendable (String) throws -> Void = { _ in }
    ) {
        self.began = began
        self.stepped = stepped
        self.said = said
    }
}

/// The lines for people of a run, kept in `train.log` of its output folder, where whoever launched
/// the run reads them.
final class RunLog {
    private let handle: FileHandle
    private let observer: TrainingObserver

    init(_ job: TrainingJob, _ observer: TrainingObserver) throws {
        self.observer = observer
        let path = job.logPath
        try OutputFolder.make(job.output, key: "output")
        if !FileManager.default.fileExists(atPath: path) {
            try Data().write(to: URL(filePath: path))
        }
        handle = try FileHandle(forWritingTo: URL(filePath: path))
        try handle.seekToEnd()
    }

    deinit { try? handle.close() }

    func say(_ line: String) throws {
        try handle.write(contentsOf: Data((line + "\n").utf8))
        try observer.said(line)
    }
}

extension TrainingJob {
    /// Where rank 0 writes down what it tells people.
    public var logPath: String { output + "/train.log" }
}
