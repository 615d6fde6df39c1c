import Encoding
import Foundation
public import Models
public import Pipeline
import Tensors

/// A training run as its YAML file describes it: every field is a key of the file, and a file
/// states only what differs from the defaults here. Paths are relative to the file.
///
/// `docs/reference/training-file.md` is made of these comments: what a key means, and its unit.
public struct TrainingJob: Codable, Sendable {
    /// `config.json` of the model, or the folder it is in.
    public var model = ""
    /// The folder of `tokenizer.json`.
    public var tokenizer = ""
    /// Text files (one document each) and JSONL files (one document per line) to learn from. The
    /// list may be empty where there is a teacher.
    public var train: [String] = []
    /// Text and JSONL files to validate on.
    var validation: [String] = []
    /// The key of a JSONL line's text.
    public var textField = "text"
    /// The folder for checkpoints, metrics and pictures. Without it, the run writes to
    /// `apus/training/NAME` in the user's state folder, where NAME is the name of the file.
    public var output = ""
    /// Steps of the run.
    /// - Unit: steps
    public var steps = 0
    /// Length of a sequence.
    /// - Unit: tokens
    public var sequenceLength = 256
    /// Sequences of a micro-batch.
    /// - Unit: sequences
    public var sequences = 1
    /// Micro-batches of one data rank in one step.
    /// - Unit: micro-batches
    public var microBatches = 1
    /// The pipeline's order of work.
    public var schedule = ScheduleKind.oneForwardOneBackward
    /// Ranks that the layers are spread over.
    /// - Unit: ranks
    public var pipelineRanks = 1
    /// Copies of the pipeline, each with its own part of the batch.
    /// - Unit: ranks
    public var dataRanks = 1
    /// Whether data ranks hold different experts and exchange tokens.
    var shareExperts = true
    /// Threads of a rank.
    /// - Unit: threads
    public var threads = 1
    /// Number format of the linear layers.
    public var precision = TrainingPrecision.float32
    /// Seed of the first weights and of the order of texts.
    public var seed: UInt64 = 0
    /// Peak learning rate.
    var learningRate = 1e-3
    /// The learning rate at the end of the cosine. Without it, a twentieth of the peak.
    var finalLearningRate: Double?
    /// Steps in which the learning rate rises from 0 to its peak.
    /// - Unit: steps
    var warmUpSteps = 100
    /// Steps at the peak before the cosine begins.
    /// - Unit: steps
    var constantSteps = 0
    /// Weight decay of matrices; vectors have none.
    var weightDecay: Float = 0.1
    /// Largest norm of the gradient; a larger gradient is scaled down to it.
    var clip = 1.0
    /// Step of the gates' balance bias (gamma of the report, section 2.1.2).
    var biasStep: Float = 0.001
    /// Steps after which the balance bias stays as it is. Without it, the bias moves to the end.
    /// - Unit: steps
    var biasSteps: Int?
    /// Weight of the balance loss (alpha of the report).
    public var balanceWeight: Float = 1e-4
    /// Weight of the MTP loss (lambda of the report).
    var mtpWeight: Float = 0.3
    /// Standard deviation of the first weights.
    var startDeviation = 0.02
    /// Steps between two checkpoints.
    /// - Unit: steps
    var checkpointEvery = 200
    /// Checkpoints that are kept.
    /// - Unit: checkpoints
    var keepCheckpoints = 2
    /// Steps between two validations.
    /// - Unit: steps
    var validateEvery = 200
    /// Longest part of a document that is validated.
    /// - Unit: tokens
    var validationLength = 512
    /// Documents that are validated.
    /// - Unit: documents
    var validationDocuments = 64
    /// Fine-tuning: a `step-N` folder, or the folder of a published model, whose weights the run
    /// begins with.
    var startFrom: String?
    /// Sequences of a micro-batch in the first step, for a batch that grows. Without it, the batch
    /// has its full size from the start.
    /// - Unit: sequences
    var firstSequences: Int?
    /// Steps over which the batch grows evenly to its full size.
    /// - Unit: steps
    var rampSteps = 0
    /// Decay of an exponential moving average of the weights, as 0.999, which `apus train export
    /// --ema` writes. Without it, the run keeps no average.
    public var emaDecay: Float?
    /// How bytes travel between ranks: `auto`, `shm`, `tcp`, `ucx` or `rdma`.
    public var transport = "auto"
    /// Whether a step whose loss or gradient is not finite is left out, with a line that says so,
    /// instead of ending the run.
    var skipBadSteps = false
    /// A model whose answers are recorded in `teacher.jsonl` of the output folder, and learned.
    public var teacher: Teacher?

    /// The defaults.
    public init() {}
}

extension TrainingJob: FileKeys {
    static let title = "a training job"
    static let required = ["model", "tokenizer", "steps"]
}

extension TrainingJob {
    /// The text files of the run: what it was given, and what a teacher said.
    var sources: [String] { train + (teacher == nil ? [] : [recording]) }

    /// Where the answers of a teacher are kept.
    public var recording: String { output + "/teacher.jsonl" }

    /// The model's shape.
    public func configuration() throws -> ModelConfiguration {
        if FileManager.default.fileExists(atPath: model + "/config.json") {
            return try ModelConfiguration.load(directory: model)
        }
        let data = try WholeFile.read(model, limit: 1 << 20) {
            TrainingError.job("model", fact: "\(model): \($0)")
        }
        return try ModelConfiguration.parse(data, file: model)
    }

    /// How the ranks share the work.
    public func shape() throws -> ParallelShape { try options().shape }

    /// The run that the job asks for.
    func options() throws -> TrainingOptions {
        var optimizer = OptimizerOptions(
            rate: LearningRate(
                peak: learningRate, floor: finalLearningRate ?? learningRate / 20,
                warmUpSteps: warmUpSteps, constantSteps: constantSteps, totalSteps: steps))
        optimizer.decay = weightDecay
        optimizer.clip = clip
        optimizer.biasStep = biasStep
        optimizer.biasSteps = biasSteps
        optimizer.balanceWeight = balanceWeight
        optimizer.mtpWeight = mtpWeight
        var options = TrainingOptions(
            model: try configuration(),
            shape: ParallelShape(
                schedule: schedule, pipelineRanks: pipelineRanks, dataRanks: dataRanks,
                sharesExperts: shareExperts && dataRanks > 1, microBatches: microBatches),
            sequenceLength: sequenceLength, sequences: sequences, threads: threads,
            precision: precision, optimizer: optimizer, startDeviation: startDeviation, seed: seed,
            skipsBadSteps: skipBadSteps)
        options.validationLength = validation.isEmpty ? 1 : validationLength
        options.ramp = BatchRamp(
            first: firstSequences ?? sequences, last: sequences, steps: rampSteps)
        options.averageDecay = emaDecay
        return options
    }
}
