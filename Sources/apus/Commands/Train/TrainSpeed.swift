import ArgumentParser
import Checkpoints
import Cluster
import Encoding
import Foundation
import Models
import Training

/// `apus train speed`: how fast one process trains a model, beside another program.
struct TrainSpeed: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "speed",
        abstract: "Trains on random tokens and prints tokens per second.",
        discussion: """
            Examples:
              apus train speed config.json --threads 2 --precision bfloat16
              apus train speed config.json --threads 2 \\
                --reference python3 --reference Tests/Reference/train_speed.py

            The reference gets the same config, sequence length, sequences, threads and steps as
            arguments and prints one number.
            """)

    @Argument(help: "config.json of the model.")
    var model: String

    @Option(help: "Tokens of a sequence.")
    var sequenceLength = 256

    @Option(help: "Sequences of a step.")
    var sequences = 8

    @Option(help: "Threads.")
    var threads = 2

    @Option(help: "float32, bfloat16 or float8.")
    var precision = "float32"

    @Option(help: "Steps that are measured.")
    var steps = 5

    @Option(help: "Words of a command that measures another program.")
    var reference: [String] = []

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        for (name, value, least, most) in [
            ("--sequence-length", sequenceLength, 2, 1 << 20),
            ("--sequences", sequences, 1, 1 << 16),
            ("--threads", threads, 1, 256), ("--steps", steps, 1, 1_000_000),
        ] where value < least || value > most {
            throw ValidationError("\(name) \(value) is outside \(least)...\(most)")
        }
    }

    func run() throws {
        try reporting {
            guard let precision = TrainingPrecision(rawValue: precision) else {
                throw TrainingError.job("precision", fact: "\(precision) is not known")
            }
            let data = try WholeFile.read(model, limit: 1 << 20) {
                CheckpointError.file(model, fact: "\($0)")
            }
            let shape = try ModelConfiguration.parse(data, file: model)
            let speeds = try SpeedTest.run(
                model: shape, sequenceLength: sequenceLength, sequences: sequences,
                threads: threads, precision: precision, steps: steps
            ).sorted()
            let ours = speeds[speeds.count / 2]
            let theirs = reference.isEmpty ? nil : try measureReference()
            if json {
                let ratio = theirs.map { ", \"reference\": \($0), \"ratio\": \(ours / $0)" } ?? ""
                print("{\"tokensPerSecond\": \(ours)\(ratio)}")
            } else {
                print(String(format: "apus       %8.0f tokens/s (median of %d)", ours, steps))
                if let theirs {
                    print(String(format: "reference  %8.0f tokens/s", theirs))
                    print(String(format: "ratio      %8.2f", ours / theirs))
                }
            }
        }
    }

    private func measureReference() throws -> Double {
        let counts = [sequenceLength, sequences, threads, steps].map { "\($0)" }
        let text = try Command(words: reference + [model] + counts).run(limit: nil)
        guard let speed = Double(text.trimmingCharacters(in: .whitespacesAndNewlines)) else {
            throw TrainingError.job("reference", fact: "printed no number")
        }
        return speed
    }
}
