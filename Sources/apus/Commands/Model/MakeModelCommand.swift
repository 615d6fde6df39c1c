public import ArgumentParser
public import Models

/// Makes a checkpoint of random weights.
struct MakeModelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "make-model",
        abstract: "Makes a checkpoint of random weights of any architecture, for benchmarks.",
        discussion: """
            The same configuration and seed give the same bytes. Weights are bell-shaped with the \
            configuration's initializer_range (0.02 without one), norms are 1.

            Example:
              apus make-model --config config.json --seed 1 --dtype fp8 --out model
            """)

    @Option(help: "A config.json.")
    var config: String

    @Option(help: "Chooses the weights.")
    var seed: UInt64 = 0

    @Option(
        help: """
            How projections are stored: bf16, fp8 (e4m3 with 128x128 block scales), or int4 or \
            mxfp4 (routed experts, or what quantization_config of the configuration says).
            """)
    var dtype = RandomCheckpoint.Format.bfloat16

    @Option(help: "The folder to write; must not exist, or be empty.")
    var out: String

    @OptionGroup var workers: PoolArguments

    func run() throws {
        try reporting {
            let model = try RandomCheckpoint(configurationFile: config, seed: seed, format: dtype)
            let bar = ProgressBar("writing")
            try model.write(to: out, pool: workers.pool(), progress: bar.show)
            bar.finish()
        }
    }
}

extension RandomCheckpoint.Format: ExpressibleByArgument {}
