import Models

/// What one rank needs to know of a training run.
struct TrainingOptions: Sendable {
    /// The model.
    var model: ModelConfiguration
    /// How ranks share it.
    var shape: ParallelShape
    /// Tokens of a sequence.
    var sequenceLength: Int
    /// Sequences of a micro-batch.
    var sequences: Int
    /// Threads of a rank.
    var threads: Int
    /// Numbers of the linear layers.
    var precision: TrainingPrecision
    /// What changes the weights.
    var optimizer: OptimizerOptions
    /// Deviation of the first weights.
    var startDeviation: Double
    /// Seed of the first weights and of the order of data.
    var seed: UInt64
    /// Whether a step without finite gradients is left out instead of stopping the run.
    var skipsBadSteps: Bool

    /// States a run; the defaults are a small single-process one.
    init(
        model: ModelConfiguration, shape: ParallelShape = ParallelShape(), sequenceLength: Int,
        sequences: Int = 1, threads: Int = 1, precision: TrainingPrecision = .float32,
        optimizer: OptimizerOptions, startDeviation: Double = 0.02, seed: UInt64 = 0,
        skipsBadSteps: Bool = false
    ) {
        self.model = model
        self.shape = shape
        self.sequenceLength = sequenceLength
        self.sequences = sequences
        self.threads = threads
        self.precision = precision
        self.optimizer = optimizer
        self.startDeviation = startDeviation
        self.seed = seed
        self.skipsBadSteps = skipsBadSteps
        ramp = BatchRamp(first: sequences, last: sequences, steps: 0)
    }

    /// How a micro-batch grows to its full size.
    var ramp: BatchRamp
    /// Decay of the weights' exponential moving average; nil keeps none.
    var averageDecay: Float?
    /// How long a rank waits for another before it gives up, naming it.
    var waitLimit: Duration = .seconds(60)

    /// Longest document of a validation.
    var validationLength = 512

    /// Rows of the largest micro-batch, of training or validation.
    var maximumRows: Int { max(sequences * sequenceLength, validationLength) }

    /// Tokens of one step over all ranks, once the batch has its full size.
    var tokensPerStep: Int {
        shape.dataRanks * shape.microBatches * sequences * sequenceLength
    }

    /// Tokens of a step, counted from 0, over all ranks.
    func tokens(step: Int) -> Int {
        shape.dataRanks * shape.microBatches * ramp.sequences(step: step) * sequenceLength
    }

    /// Tokens of all steps before one, over all ranks: where its text begins.
    func tokens(before step: Int) -> Int {
        shape.dataRanks * shape.microBatches * ramp.sequences(before: step) * sequenceLength
    }
}
