import ArgumentParser
import Cluster
import Foundation
import Topology
import Training
import Transport

/// `apus train`: trains a model from a job file, and exports what was trained.
struct TrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Trains a DeepSeek-V3 model from text.",
        discussion: """
            Examples:
              apus train stories.yaml
              apus train stories.yaml --resume
              apus train stories.yaml --lab topology/two-nodes-4g.yaml
              apus train profile stories.yaml --against 1f1b
              apus train export run/checkpoints/step-00001500 --to stories --tokenizer tokenizer

            The ranks of a job are processes, started and watched as those of apus launch: a \
            coordinator and a worker per rank, on this machine or in the namespaces of a lab. \
            train.log, metrics.jsonl, loss.svg, timeline.svg and the checkpoints are in the job's \
            output folder. Exits with 0 when done, 1 for numbers that went wrong, 2 for bad input, \
            3 when a rank was lost, 128 + the signal when stopped.
            """,
        subcommands: [TrainRun.self, TrainProfile.self, TrainExport.self, TrainSpeed.self],
        defaultSubcommand: TrainRun.self)
}

/// `apus train FILE.yaml`.
struct TrainRun: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Runs a training job (the default).",
        discussion: """
            Examples:
              apus train stories.yaml
              apus train run stories.yaml --resume
              apus train run stories.yaml --in-process
              apus train run stories.yaml --lab topology/two-nodes-4g.yaml

            Ctrl-C ends a run; --resume goes on from its newest checkpoint with the same losses.
            """)

    @OptionGroup var options: TrainArguments

    @Flag(help: "Go on from the newest checkpoint.")
    var resume = false

    func run() async throws {
        var launch = TrainingLaunch()
        launch.resumes = resume
        try await options.run(launch)
    }
}

/// `apus train profile FILE.yaml`.
struct TrainProfile: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profile",
        abstract: "Measures steps of a job: bubbles, and how much of the all-to-all is hidden.",
        discussion: """
            Prints the measured makespan and bubble of every rank beside those of the simulation \
            that is fed with the measured step times, and per rank how much of the all-to-all of \
            overlapped pairs is exposed, of how much there is without overlap. Writes \
            profile.json, and per schedule the measured step drawn under the plan \
            (profile-SCHEDULE.svg, and -trace.json for Perfetto). No checkpoint is written.

              apus train profile stories.yaml --against 1f1b
              apus train profile stories.yaml --sleep --match --lab topology/two-nodes-4g.yaml
            """)

    @OptionGroup var options: TrainArguments

    @Option(help: "Measured steps.") var steps = 5
    @Option(help: "Another schedule to measure as well, as 1f1b.") var against: String?
    @Flag(
        help: """
            Sleep for the measured processor time instead of computing: for more ranks than cores.
            """)
    var sleep = false
    @Flag(help: "Give every expert as many tokens, as the published profiles of DualPipe do.")
    var even = false
    @Flag(help: "Stretch sleeps until they take as long as the all-to-all without overlap.")
    var match = false

    func validate() throws {
        if match && !sleep { throw ValidationError("--match stretches sleeps: it needs --sleep") }
    }

    func run() async throws {
        var launch = TrainingLaunch()
        launch.profiles = true
        var profile = ProfileOptions()
        profile.steps = steps
        profile.sleeps = sleep
        profile.matchesTravel = match
        profile.routesEvenly = even
        profile.against = against ?? ""
        launch.profile = profile
        try await options.run(launch)
    }
}

/// `apus train export CHECKPOINT --to FOLDER`.
struct TrainExport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Writes a checkpoint as a Hugging Face DeepSeek-V3 folder.",
        discussion: """
            Examples:
              apus train export run/checkpoints/step-00001500 --to stories --tokenizer tokenizer
              apus train export run/checkpoints/step-00001500 --to stories-fp8 --fp8
              apus train export run/checkpoints/step-00001500 --to stories-ema --ema

            apus serve --model stories, apus generate and Transformers load what is written.
            """)

    @Argument(help: "A step-N folder of a run.")
    var checkpoint: String

    @Option(help: "The folder to write.")
    var to: String

    @Option(help: "A folder with tokenizer.json, whose files are copied.")
    var tokenizer: String?

    @Flag(help: "Store matrices as e4m3 with 128x128 scales instead of bf16.")
    var fp8 = false

    @Flag(help: "Write the weights' moving averages, which a job with emaDecay keeps.")
    var ema = false

    func run() throws {
        try reporting {
            let files = FileManager.default
            if files.fileExists(atPath: to), try !files.contentsOfDirectory(atPath: to).isEmpty {
                throw ValidationError("--to \(to): exists and is not an empty folder")
            }
            try Export.write(
                checkpoint: checkpoint, to: to, format: fp8 ? .float8 : .bfloat16,
                tokenizer: tokenizer, averaged: ema)
            StandardStream.error.say("wrote \(to)\n")
        }
    }
}
