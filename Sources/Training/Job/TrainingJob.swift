import Foundation
public import Models
public import Pipeline
import Tensors
import Yams

/// A training run as its YAML file describes it. Paths are relative to the file.
public struct TrainingJob: Codable, Sendable {
    /// `config.json` of the model, or the folder it is in.
    public var model: String
    /// The folder of `tokenizer.json`.
    public var tokenizer: String
    /// Text and JSONL files to learn from; may be empty where there is a teacher.
    public var train: [String] = []
    /// Text and JSONL files to validate on.
    public var validation: [String] = []
    /// The key of a JSONL line's text. Default `text`.
    public var textField = "text"
    /// The folder for checkpoints, metrics and curves.
    public var output: String
    /// Steps of the run.
    public var steps: Int
    /// Tokens of a sequence. Default 256.
    public var sequenceLength = 256
    /// Sequences of a micro-batch. Default 1.
    public var sequences = 1
    /// Micro-batches of a data rank's step. Default 1.
    public var microBatches = 1
    /// The pipeline's order of work. Default 1F1B.
    public var schedule = ScheduleKind.oneForwardOneBackward
    /// Ranks that the layers are spread over. Default 1.
    public var pipelineRanks = 1
    /// Copies of the pipeline. Default 1.
    public var dataRanks = 1
    /// Whether data ranks share the experts. Default true.
    public var sharesExperts = true
    /// Threads of a rank. Default 1.
    public var threads = 1
    /// Numbers of the linear layers. Default float32.
    public var precision = TrainingPrecision.float32
    /// Seed of weights and data. Default 0.
    public var seed: UInt64 = 0
    /// Peak learning rate. Default 1e-3.
    public var learningRate = 1e-3
    /// The rate at the end. Default a twentieth of the peak.
    public var finalLearningRate: Double?
    /// Steps of the linear rise. Default 100.
    public var warmUpSteps = 100
    /// Steps at the peak. Default 0.
    public var constantSteps = 0
    /// Weight decay of matrices. Default 0.1.
    public var weightDecay: Float = 0.1
    /// Largest gradient norm. Default 1.
    public var clip = 1.0
    /// Step of the balance bias (gamma). Default 0.001.
    public var biasStep: Float = 0.001
    /// Steps after which the balance bias stays as it is; without, it moves to the end.
    public var biasSteps: Int?
    /// Weight of the balance loss (alpha). Default 1e-4.
    public var balanceWeight: Float = 1e-4
    /// Weight of the MTP loss (lambda). Default 0.3.
    public var mtpWeight: Float = 0.3
    /// Deviation of the first weights. Default 0.02.
    public var startDeviation = 0.02
    /// Steps between checkpoints. Default 200.
    public var checkpointEvery = 200
    /// Checkpoints that are kept. Default 2.
    public var keepCheckpoints = 2
    /// Steps between validations. Default 200.
    public var validateEvery = 200
    /// Tokens of a validated document. Default 512.
    public var validationLength = 512
    /// Documents that are validated. Default 64.
    public var validationDocuments = 64
    /// A folder whose weights to begin with: fine-tuning.
    public var startFrom: String?
    /// Sequences of a micro-batch in the first step, less than `sequences` for a batch that grows.
    public var firstSequences: Int?
    /// Steps over which a batch grows evenly to its full size. Default 0.
    public var rampSteps = 0
    /// Decay of the weights' exponential moving average, as 0.999; none is kept without.
    public var averageDecay: Float?
    /// How bytes travel between ranks: auto, shm, tcp, ucx or rdma. Default auto.
    public var transport = "auto"
    /// A model whose answers are learned, recorded before the run begins.
    public var teacher: Teacher?
    /// Leaves out steps without finite gradients instead of stopping. Default false.
    public var skipBadSteps = false

    enum CodingKeys: String, CodingKey, CaseIterable {
        case model, tokenizer, train, validation, output, steps, sequences, schedule, threads
        case precision, seed, clip, transport, teacher
        case textField = "text_field"
        case sequenceLength = "sequence_length"
        case microBatches = "micro_batches"
        case pipelineRanks = "pipeline_ranks"
        case dataRanks = "data_ranks"
        case sharesExperts = "share_experts"
        case learningRate = "learning_rate"
        case finalLearningRate = "final_learning_rate"
        case warmUpSteps = "warm_up_steps"
        case constantSteps = "constant_steps"
        case weightDecay = "weight_decay"
        case biasStep = "bias_step"
        case biasSteps = "bias_steps"
        case balanceWeight = "balance_weight"
        case mtpWeight = "mtp_weight"
        case startDeviation = "start_deviation"
        case checkpointEvery = "checkpoint_every"
        case keepCheckpoints = "keep_checkpoints"
        case validateEvery = "validate_every"
        case validationLength = "validation_length"
        case validationDocuments = "validation_documents"
        case startFrom = "start_from"
        case skipBadSteps = "skip_bad_steps"
        case firstSequences = "first_sequences"
        case rampSteps = "ramp_steps"
        case averageDecay = "ema_decay"
    }
}

extension TrainingJob {
    /// Reads the values that are there; the others keep their defaults.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func read<Value: Decodable>(_ key: CodingKeys, _ target: inout Value) throws {
            if let value = try values.decodeIfPresent(Value.self, forKey: key) { target = value }
        }
        model = try values.decode(String.self, forKey: .model)
        tokenizer = try values.decode(String.self, forKey: .tokenizer)
        try read(.train, &train)
        output = try values.decode(String.self, forKey: .output)
        steps = try values.decode(Int.self, forKey: .steps)
        try read(.validation, &validation)
        try read(.textField, &textField)
        try read(.sequenceLength, &sequenceLength)
        try read(.sequences, &sequences)
        try read(.microBatches, &microBatches)
        try read(.schedule, &schedule)
        try read(.pipelineRanks, &pipelineRanks)
        try read(.dataRanks, &dataRanks)
        try read(.sharesExperts, &sharesExperts)
        try read(.threads, &threads)
        try read(.precision, &precision)
        try read(.seed, &seed)
        try read(.learningRate, &learningRate)
        finalLearningRate = try values.decodeIfPresent(Double.self, forKey: .finalLearningRate)
        try read(.warmUpSteps, &warmUpSteps)
        try read(.constantSteps, &constantSteps)
        try read(.weightDecay, &weightDecay)
        try read(.clip, &clip)
        try read(.biasStep, &biasStep)
        biasSteps = try values.decodeIfPresent(Int.self, forKey: .biasSteps)
        try read(.balanceWeight, &balanceWeight)
        try read(.mtpWeight, &mtpWeight)
        try read(.startDeviation, &startDeviation)
        try read(.checkpointEvery, &checkpointEvery)
        try read(.keepCheckpoints, &keepCheckpoints)
        try read(.validateEvery, &validateEvery)
        try read(.validationLength, &validationLength)
        try read(.validationDocuments, &validationDocuments)
        startFrom = try values.decodeIfPresent(String.self, forKey: .startFrom)
        try read(.skipBadSteps, &skipBadSteps)
        firstSequences = try values.decodeIfPresent(Int.self, forKey: .firstSequences)
        try read(.rampSteps, &rampSteps)
        averageDecay = try values.decodeIfPresent(Float.self, forKey: .averageDecay)
        try read(.transport, &transport)
        teacher = try values.decodeIfPresent(Teacher.self, forKey: .teacher)
    }

    /// Reads a job file, makes its paths absolute, and checks everything that can be known before
    /// any work.
    public static func load(path: String) throws -> TrainingJob {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw TrainingError.job(path, fact: "cannot be read")
        }
        var job = try parse(String(decoding: data, as: UTF8.self), path: path)
        let folder = URL(filePath: path).deletingLastPathComponent()
        func resolve(_ file: String) -> String {
            URL(filePath: file, relativeTo: folder).path(percentEncoded: false)
        }
        job.model = resolve(job.model)
        job.tokenizer = resolve(job.tokenizer)
        job.train = job.train.map(resolve)
        job.validation = job.validation.map(resolve)
        job.output = resolve(job.output)
        job.startFrom = job.startFrom.map(resolve)
        if var teacher = job.teacher {
            teacher.prompts = teacher.prompts.map(resolve)
            job.teacher = teacher
        }
        try job.validate()
        return job
    }

    /// Reads the text of a job file; `path` is only for messages.
    private static func parse(_ text: String, path: String) throws -> TrainingJob {
        var values: [String: Any] = [:]
        do {
            values = try Yams.load(yaml: text) as? [String: Any] ?? [:]
            guard !values.isEmpty else {
                throw TrainingError.job(path, fact: "holds no keys of a training job")
            }
            let known = Set(CodingKeys.allCases.map(\.rawValue))
            if let key = values.keys.sorted().first(where: { !known.contains($0) }) {
                throw TrainingError.job(key, fact: "is not a key of a training job")
            }
            let teacher = values["teacher"] as? [String: Any] ?? [:]
            let asked = Set(Teacher.CodingKeys.allCases.map(\.rawValue))
            if let key = teacher.keys.sorted().first(where: { !asked.contains($0) }) {
                throw TrainingError.job("teacher.\(key)", fact: "is not a key of a teacher")
            }
            return try YAMLDecoder().decode(TrainingJob.self, from: text)
        } catch let error as TrainingError {
            throw error
        } catch let error as DecodingError {
            throw Self.worded(error, values, path: path)
        } catch {
            let words = "\(error)".split(separator: "\n").first ?? "unreadable"
            throw TrainingError.job("\(path):", fact: String(words))
        }
    }

    /// The text files of the run: what it was given, and what a teacher said.
    var sources: [String] { train + (teacher == nil ? [] : [recording]) }

    /// Where the answers of a teacher are kept.
    public var recording: String { output + "/teacher.jsonl" }

    /// The model's shape.
    public func configuration() throws -> ModelConfiguration {
        if FileManager.default.fileExists(atPath: model + "/config.json") {
            return try ModelConfiguration.load(directory: model)
        }
        guard let data = FileManager.default.contents(atPath: model) else {
            throw TrainingError.job("model", fact: "\(model) cannot be read")
        }
        return try ModelConfiguration.parse(data, file: model)
    }

    /// The run that the job asks for.
    public func options() throws -> TrainingOptions {
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
                sharesExperts: sharesExperts && dataRanks > 1, microBatches: microBatches),
            sequenceLength: sequenceLength, sequences: sequences, threads: threads,
            precision: precision, optimizer: optimizer, startDeviation: startDeviation, seed: seed,
            skipsBadSteps: skipBadSteps)
        options.validationLength = validation.isEmpty ? 1 : validationLength
        options.ramp = BatchRamp(
            first: firstSequences ?? sequences, last: sequences, steps: rampSteps)
        options.averageDecay = averageDecay
        return options
    }
}
