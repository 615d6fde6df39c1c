import DeepSeekV3
import Pipeline
import Synchronization
import Tensors
import Testing
import Topology
import Transport

@testable import Training

/// Many ranks train as one process does.
@Suite(.serialized) struct EqualityTests {
    @Test func `DualPipe over 2 ranks has the losses and gradients of one process`() throws {
        try check(ParallelShape(schedule: .dualPipe, pipelineRanks: 2, microBatches: 4))
    }

    @Test func `DualPipe over 4 ranks has the losses and gradients of one process`() throws {
        try check(ParallelShape(schedule: .dualPipe, pipelineRanks: 4, microBatches: 8))
    }

    @Test func `DualPipe over 8 ranks has the losses and gradients of one process`() throws {
        try check(ParallelShape(schedule: .dualPipe, pipelineRanks: 8, microBatches: 16))
    }

    @Test(
        arguments: [
            ScheduleKind.oneForwardOneBackward, .zeroBubbleOne, .zeroBubbleV, .dualPipeV,
        ], [4, 8])
    func `every other schedule has the losses and gradients of one process`(
        kind: ScheduleKind, ranks: Int
    ) throws {
        try check(
            ParallelShape(schedule: kind, pipelineRanks: ranks, microBatches: 2 * ranks),
            layers: max(8, kind.stageCount(ranks: ranks)))
    }

    @Test func `experts shared by 2 data ranks under DualPipe have the losses of one process`()
        throws
    {
        try check(
            ParallelShape(
                schedule: .dualPipe, pipelineRanks: 2, dataRanks: 2, sharesExperts: true,
                microBatches: 4))
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
        for (name, gradient) in expected.gradients {
            #expect(relativeError(found.gradients[name] ?? [], gradient) <= 1e-5, "\(name)")
        }
        #expect(found.gradients.count == expected.gradients.count)
    }

    struct Run {
        var losses: [Double] = []
        var loads: [[Float]] = []
        var gradients: [String: [Float]] = [:]
    }

    private func train(_ shape: ParallelShape, _ layers: Int, _ seed: UInt64) throws -> Run {
        let options = tinyOptions(shape, layers: layers, seed: seed)
        let result = Mutex(Run())
        try LocalRanks.run(shape) { place in
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
                    guard step == 0 else { return }
                    for item in trainer.sync.owned {
                        let values = item.parameter.gradient.values
                        let old = result.gradients[item.parameter.name] ?? values
                        result.gradients[item.parameter.name] =
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
func tinyOptions(_ shape: ParallelShape, layers: Int = 8, seed: UInt64 = 2) -> TrainingOptions {
    var model = ModelConfiguration.tiny
    model.layerCount = layers
    return TrainingOptions(
        model: model, shape: shape, sequenceLength: 8, sequences: 1,
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
