import ArgumentParser
import Benchmarks
import Cluster
import Encoding
import Foundation
import Language
import Models
import Tensors

/// `apus bench cache`: what a cache with fewer bits does to the logits of a long text.
struct CacheCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cache",
        abstract: "Compares the logits of a long text with latents in bf16, FP8 and fp32.",
        discussion: """
            Shows a text to the model once with each cache, and compares the last 64 rows of \
            logits before each depth with those of the fp32 cache. Without --text the text is \
            made of ids that depend on --seed alone.

              apus bench cache --model DIR --depths 4096,32768
              apus bench cache --model DIR --text story.txt --depths 1024,2048 --json
            """)

    @OptionGroup var arguments: ModelArguments
    @Option(help: "Tokens of the text's beginnings, comma-separated.") var depths = "4096"
    @Option(help: "A text file, repeated where it is too short.") var text: String?
    @Option(help: "Chooses a made text.") var seed: UInt64 = 0
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
        _ = try numbers()
        if arguments.cache != nil { throw ValidationError("--cache: every format is compared") }
    }

    func run() throws {
        let reports = try reporting { try measured() }
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            print(String(decoding: try encoder.encode(reports), as: UTF8.self))
        } else {
            print(Self.table(reports), terminator: "")
        }
    }

    private func measured() throws -> [CacheBenchmark.Report] {
        let loaded = try arguments.load()
        let depths = try numbers()
        let tokens = try tokens(
            depths.max() ?? 0, vocabulary: loaded.model.configuration.vocabularySize)
        return try CacheBenchmark(loaded.model, tokens: tokens, depths: depths).run { format in
            StandardStream.error.say("apus: cache in \(format)\n")
        }
    }

    private func numbers() throws -> [Int] {
        try depths.split(separator: ",").map { part in
            guard let number = Int(part), (1 ... 1 << 20).contains(number) else {
                throw ValidationError("--depths: \(part) is not a number from 1 to 1048576")
            }
            return number
        }
    }

    private func tokens(_ count: Int, vocabulary: Int) throws -> [Int] {
        guard let text else {
            var random = SplitMix64(seed: seed)
            return (0 ..< count).map { _ in Int.random(in: 0 ..< vocabulary, using: &random) }
        }
        let tokenizer = try Tokenizer(directory: URL(filePath: arguments.model))
        let tokens = tokenizer.encode(try readText(text))
        guard let first = tokens.first else { throw ModelError.request("\(text) has no token") }
        return (0 ..< count).map { $0 == 0 ? first : tokens[$0 % tokens.count] }
    }

    private static func table(_ reports: [CacheBenchmark.Report]) -> String {
        var text =
            "| cache | bytes/token |  depth | largest |    rms | spread | divergence | agree |\n"
            + "|:------|------------:|-------:|--------:|-------:|-------:|-----------:|------:|\n"
        for report in reports {
            for figures in report.depths {
                text += String(
                    format: "| %@  | %11d | %6d | %7.3f | %6.4f | %6.3f | %10.2e | %4.0f%% |\n",
                    report.format.padding(toLength: 4, withPad: " ", startingAt: 0),
                    report.bytesPerToken, figures.depth, figures.largest, figures.rootMeanSquare,
                    figures.spread, figures.divergence, figures.agreement * 100)
            }
        }
        return text + "logits beside those of the fp32 cache, of the last 64 rows before a depth\n"
    }
}
