public import ArgumentParser
public import Models

/// Rewrites a checkpoint in another number format.
struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Rewrites a checkpoint in another number format.",
        discussion: """
            Streams: memory does not grow with the checkpoint. Shards keep their names; the \
            tokenizer and other small files are copied. OUT appears when it is complete.

            Examples:
              apus convert fp8-to-bf16 DeepSeek-V3 DeepSeek-V3-bf16
              apus convert bf16-to-fp8 my-model my-model-fp8 --threads 4
            """)

    @Argument(help: "fp8-to-bf16 or bf16-to-fp8.")
    var conversion: FormatConversion

    @Argument(help: "The checkpoint folder to read.")
    var source: String

    @Argument(help: "The folder to write; must not exist, or be empty.")
    var target: String

    @OptionGroup var workers: PoolArguments

    func run() throws {
        try reporting {
            let bar = ProgressBar("converting")
            try conversion.run(
                source: source, target: target, pool: workers.pool(),
                progress: bar.show)
            bar.finish()
        }
    }
}

extension FormatConversion: ExpressibleByArgument {}
