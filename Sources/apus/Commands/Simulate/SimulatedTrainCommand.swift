import ArgumentParser
import Benchmarks
import Pipeline
import Planner
import Topology

/// `apus simulate train`: a training step of many ranks.
struct SimulatedTrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Simulates a training step: a pipeline whose stages share experts.",
        discussion: """
            Ranks are threads that run the product's own executor, channels and all-to-all; \
            computing takes virtual time alone. Rank stage x EP + place: neighbours share a \
            stage. Prints the step beside the schedule's own simulation, which knows no network, \
            and beside what apus plan's formulas predict. Exits with 2 on bad input, 3 if a rank \
            is lost.

              apus simulate train --topology topology/four-nodes-25g-roce.yaml --ranks 8 \
            --stages 4 --hidden 1024 --experts 64 --compute 2ms
              apus simulate train --topology topology/h800-2048-mpft.yaml --ranks 64 --stages 8 \
            --tokens 16 --compute 200us --schedule dualpipe --trace step.json
              apus simulate train --topology topology/epyc-8-nodes-100g-roce.yaml --ranks 16 \
            --stages 4 --model deepseek-v3 --tokens 16
              apus simulate train --topology topology/h800-2048-mpft.yaml --ranks 64 --stages 8 \
            --tokens 16 --compute 200us --straggler 21=3 --kill 12@3ms
            """)

    @OptionGroup var cluster: SimulatedClusterOptions

    @Option(help: "Ranks of a pipeline; the others share the experts of a stage.")
    var stages: Int

    @Option(help: "Order of the steps: 1f1b, zb1p, zbv, dualpipe or dualpipev.")
    var schedule = ScheduleKind.dualPipe

    @Option(help: "Slices of the batch of a pipeline (default: twice the stages).")
    var microBatches: Int?

    @Option(help: "Tokens of a micro-batch on a rank.")
    var tokens = 32

    @Option(help: "Blocks with experts of a stage.")
    var layers = 1

    @OptionGroup var model: SimulatedModelOptions

    @Option(help: "What a block computes forward for a micro-batch (default: 1ms).")
    var compute: String?

    @Option(help: "What its input gradients take (default: --compute).")
    var backwardInput: String?

    @Option(help: "What its weight gradients take (default: --compute).")
    var backwardWeight: String?

    @Option(help: "How tokens travel to the experts: fp8 or bf16.")
    var dispatch = "bf16"

    @OptionGroup var faults: SimulatedFaultOptions

    func run() throws {
        try reporting {
            let options = try options()
            let file = try cluster.output()
            let bar = ProgressBar("simulate")
            defer { bar.finish() }
            let outcome = try SimulatedTraining(options).traced { bar.show($0, of: $1, "cells") }
            try cluster.show(
                outcome.result, text: outcome.result.text, losses: outcome.result.losses,
                { try Timeline.chromeTrace(outcome.timelines, microsecondsPerUnit: 1e6) },
                to: file)
        }
    }

    private func options() throws -> TrainingSimulationOptions {
        let shape = try model.shape(
            times: [
                ("compute", compute), ("backward-input", backwardInput),
                ("backward-weight", backwardWeight),
            ])
        var base = try cluster.options(
            model: shape, dispatch: dispatch, codecs: ["fp8", "bf16"])
        base.tokenCount = tokens
        try faults.apply(to: &base)
        var options = TrainingSimulationOptions(base, stages: stages, times: try times())
        (options.kind, options.microBatches, options.blocks) = (schedule, microBatches, layers)
        guard let shape else { return options }
        try options.checkShape()
        // One block per stage, and no head: of a block alone.
        var bare = shape
        bare.vocabulary = 0
        let layout = try model.layout(bare, base, .train, blocks: stages) {
            ($0.pp, $0.dp, $0.ep) = (stages, options.groupSize, options.groupSize)
            ($0.batch, $0.context) = (options.chosenMicroBatches, tokens)
        }
        options.times = TrainingSimulationOptions.BlockTimes(layout)
        return options
    }

    private func times() throws -> TrainingSimulationOptions.BlockTimes {
        func seconds(_ option: String, _ text: String) throws -> Double {
            try SimulatedFaultOptions.time(option, text, text) / .seconds(1)
        }
        let forward = compute ?? "1ms"
        return TrainingSimulationOptions.BlockTimes(
            StepCosts(
                forward: try seconds("compute", forward),
                backwardInput: try seconds("backward-input", backwardInput ?? forward),
                backwardWeight: try seconds("backward-weight", backwardWeight ?? forward)),
            expertShare: model.expertShare)
    }
}
