import Encoding
import Models
import Pipeline
import Synchronization
import Tensors
import Testing
import Topology
import Transport

@testable import Training

/// Many ranks train as one process does.
@Suite(.serialized) struct EqualityTests {
    /// Sums have one order whatever the schedule and the number of ranks, so what is asked here is
    /// more than a loss within 1e-6.
    @Test(
        arguments: [
            ScheduleKind.oneForwardOneBackward, .zeroBubbleOne, .zeroBubbleV, .dualPipe,
            .dualPipeV,
        ], [2, 4, 8])
    func `every schedule has the bits of one process`(kind: ScheduleKind, ranks: Int) throws {
        let shape = ParallelShape(schedule: kind, pipelineRanks: ranks, microBatches: 2 * ranks)
        let layers = max(8, kind.stageCount(ranks: ranks))
        let expected = try train(ParallelShape(microBatches: 2 * ranks), layers, 2)
        let found = try train(shape, layers, 2)
        for (step, (a, b)) in zip(found.losses, expected.losses).enumerated() {
            // Sums of ranks in Float64, in another order.
            #expect(abs(a - b) <= 1e-14 * b, "step \(step + 1): \(a) against \(b)")
        }
        #expect(found.losses.count == 20)
        #expect((found.losses.last ?? 9) < (found.losses.first ?? 0))
        #expect(found.loads == expected.loads)
        for (name, gradient) in expected.gradients {
            #expect(found.gradients[name] == gradient, "\(name)")
        }
        #expect(found.gradients.count == expected.gradients.count)
    }

    @Test func `copies over 2 data ranks have the losses and gradients of one process`() throws {
        try check(
            ParallelShape(
                schedule: .zeroBubbleV, pipelineRanks: 2, dataRanks: 2, microBatches: 4))
    }

    @Test func `experts shared by 2 data ranks under DualPipe have the losses of one process`()
        throws
    {
        try check(
            ParallelShape(
                schedule: .dualPipe, pipelineRanks: 2, dataRanks: 2, sharesExperts: true,
                microBatches: 4))
    }

    /// Tokens travel as e4m3 and products round them to e4m3: what is left of the difference is
    /// bf16 on the way back and between stages.
    @Test func `experts shared by 2 data ranks in FP8 learn as one process does`() throws {
        let shape = ParallelShape(
            schedule: .dualPipe, pipelineRanks: 2, dataRanks: 2, sharesExperts: true,
            microBatches: 4)
        let expected = try train(ParallelShape(microBatches: 8), 8, 2, .float8)
        let found = try train(shape, 8, 2, .float8)
        #expect(found.losses.count == 20)
        // bf16 rounds by 2^-9 at most, and a loss here is a mean of logits after eight layers.
        #expect(abs(found.losses[0] - expected.losses[0]) <= 0x1p-9 * expected.losses[0])
        #expect((found.losses.last ?? 9) < (found.losses.first ?? 0))
    }

    /// Trains 20 steps both ways.
    ///
    /// A gate whose last choice is a near-tie may choose otherwise after another order of sums.
    /// Then the loads differ and the losses are of two different networks: such a seed proves
    /// nothing, and the next one is taken.
    private func check(_ shape: ParallelShape, layers: Int = 8) throws {
        for seed: UInt64 in [2, 7, 10, 11, 12, 13] {
            let expected = try train(
                ParallelShape(microBatches: shape.dataRanks * shape.microBatches), layers, seed)
            let found = try train(shape, layers, seed)
            guard found.loads == expected.loads else { continue }
            compare(found, expected)
            return
        }
        Issue.record("every seed has a near-tie in a gate")
    }

    private func compare(_ found: Run, _ expected: Run) {
        for (step, (a, b)) in zip(found.losses, expected.losses).enumerated() {
            #expect(abs(a - b) <= 1e-6 * b, "step \(step + 1): \(a) against \(b)")
        }
        #expect(found.losses.count == 20)
        #expect((found.losses.last ?? 9) < (found.losses.first ?? 0))
        for (name, gradient) in expected.gradients where name.hasSuffix("step 1") {
            #expect(relativeError(found.gradients[name] ?? [], gradient) <= 1e-5, "\(name)")
        }
        #expect(found.gradients.count == expected.gradients.count)
    }

    struct Run {
        var losses: [Double] = []
        var loads: [[Float]] = []
        var gradients: [String: [Float]] = [:]
    }

    private func train(
        _ shape: ParallelShape, _ layers: Int, _ seed: UInt64,
        _ precision: TrainingPrecision = .float32
    ) throws -> Run {
        let options = tinyOptions(shape, layers: layers, seed: seed, precision: precision)
        let result = Mutex(Run())
        try shape.runInThreads { place in
            let trainer = try RankTrainer(options, fabric: place.fabric, experts: place.experts)
            for step in 0 ..< 20 {
                let data = shape.dataRank(of: place.fabric.rank)
                let batch = (0 ..< shape.microBatches).map {
                    tinyBatch(options, step: step, index: data * shape.microBatches + $0)
                }
                let report = try trainer.gradients(batch)
                result.withLock { result in
                    if place.fabric.rank == 0 {
                        result.losses.append(report.loss)
                        result.loads.append(trainer.loads)
                    }
                    guard step == 0 || step == 19 else { return }
                    for item in trainer.sync.owned {
                        let values = item.parameter.gradient.values
                        let key = "\(item.parameter.name) in step \(step + 1)"
                        let old = result.gradients[key] ?? values
                        result.gradients[key] =
                            Array(old[..<item.range.lowerBound]) + values[item.range]
                            + old[item.range.upperBound...]
                    }
                }
                _ = try trainer.update(report)
            }
        }
        return result.withLock { $0 }
    }
}

/// A model with every kind of layer, small enough to train in a test.
func tinyOptions(
    _ shape: ParallelShape, layers: Int = 8, seed: UInt64 = 2,
    precision: TrainingPrecision = .float32
) -> TrainingOptions {
    var model = ModelConfiguration.tiny
    model.layerCount = layers
    return TrainingOptions(
        model: model, shape: shape, sequenceLength: 8, sequences: 1, precision: precision,
        optimizer: OptimizerOptions(
            rate: LearningRate(peak: 1e-3, floor: 1e-4, warmUpSteps: 4, totalSteps: 40)),
        startDeviation: 0.1, seed: seed)
}

/// Tokens of which each follows from the one before, so that there is something to learn.
func tinyBatch(_ options: TrainingOptions, step: Int, index: Int) -> MicroBatch {
    var random = SplitMix64(seed: UInt64(step * 1000 + index))
    let vocabulary = options.model.vocabularySize
    var tokens: [Int32] = []
    var targets: [Int32] = []
    for _ in 0 ..< options.sequences {
        var token = Int.random(in: 0 ..< vocabulary, using: &random)
        for _ in 0 ..< options.sequenceLength {
            tokens.append(Int32(token))
            token = (token * 7 + Int.random(in: 0 ..< 3, using: &random)) % vocabulary
            targets.append(Int32(token))
        }
    }
    return MicroBatch(tokens: tokens, targets: targets)
}
