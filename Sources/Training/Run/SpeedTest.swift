import Dispatch
import Encoding
public import Models
import Transport

/// Steps of training on random tokens, to see how fast they are.
public enum SpeedTest {
    /// Trains one process and returns the tokens per second of each step after the first.
    ///
    /// - Parameters:
    ///   - sequences: Of one step, which is one micro-batch.
    ///   - steps: Measured; one more goes before.
    public static func run(
        model: ModelConfiguration, sequenceLength: Int, sequences: Int, threads: Int,
        precision: TrainingPrecision, steps: Int
    ) throws -> [Double] {
        let rate = LearningRate(peak: 1e-3, floor: 1e-4, warmUpSteps: 1, totalSteps: steps + 1)
        let options = TrainingOptions(
            model: model, sequenceLength: sequenceLength, sequences: sequences, threads: threads,
            precision: precision, optimizer: OptimizerOptions(rate: rate))
        let fabric = try makeLoopbackFabrics(rankCount: 1)[0]
        defer { fabric.close() }
        let trainer = try RankTrainer(options, fabric: fabric)
        var random = SplitMix64(seed: 1)
        return try (0 ... steps).map { _ in
            let tokens = (0 ... options.tokensPerStep).map { _ in
                Int32.random(in: 0 ..< Int32(model.vocabularySize), using: &random)
            }
            let batch = MicroBatch(
                tokens: Array(tokens.dropLast()), targets: Array(tokens.dropFirst()))
            let begin = DispatchTime.now().uptimeNanoseconds
            _ = try trainer.run([batch])
            let seconds = Double(DispatchTime.now().uptimeNanoseconds - begin) / 1e9
            return Double(options.tokensPerStep) / seconds
        }.dropFirst().map { $0 }
    }
}
