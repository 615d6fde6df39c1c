public import ArgumentParser
import Foundation
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
              apus convert DeepSeek-V3 DeepSeek-V3-bf16 --to bf16
              apus convert DeepSeek-V3 DeepSeek-V3-int4 --to int4 --threads 4
              apus convert my-model my-model-int4 --to int4 --only 're:.*(mlp|lm_head).*'

            Matrices of every format that is read are taken: bf16, f16, f32, fp8, int4, mxfp4. \
            int4 and mxfp4 take the routed experts unless --only says otherwise, and leave no \
            other matrix quantised. --only takes no embedding, norm or router (mlp.gate), says on \
            standard error what it leaves out, and takes all routed experts of a layer or none. \
            For each matrix that is rounded a line gives the root of the mean square of the \
            differences over that of the values.
            """)

    @Argument(help: "The checkpoint folder to read.")
    var source: String

    @Argument(help: "The folder to write; must not exist, or be empty.")
    var target: String

    @Option(help: "The format to write: bf16, fp8, int4 or mxfp4.")
    var to: FormatConversion.Target

    @Option(
        help: """
            A module to convert, by its name or as re: and a regular expression that names begin \
            with; repeat for several.
            """)
    var only: [String] = []

    @OptionGroup var workers: PoolArguments

    func run() throws {
        try reporting {
            let bar = ProgressBar("converting")
            try FormatConversion(to: to, only: only).run(
                source: source, target: target, pool: workers.pool(), progress: bar.show,
                note: ModelArguments.note
            ) { error in
                print(String(format: "%.5f  %@", error.relative, error.name))
            }
            bar.finish()
        }
    }
}

extension FormatConversion.Target: ExpressibleByArgument {}
