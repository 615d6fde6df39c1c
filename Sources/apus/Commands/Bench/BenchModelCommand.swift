import ArgumentParser
import Benchmarks
import Checkpoints
import Foundation
import Tensors

/// `apus bench model`: prefill and decode rates beside the limits of this machine.
struct BenchModelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model",
        abstract: "Measures prefill and decode against read bandwidth and peak FMA rate.",
        discussion: """
            Examples:
              apus bench model --model DIR -p 512 -n 64 -b 1,8,32 -t 2
              apus bench model --model DIR -p 0 -n 32 --kv-depth 2048 --json
              apus bench model --model DIR -p 0 -n 8 --kv-depth 32768 --copy-prompt --dense

            Both limits are measured between the repetitions. -p 0 or -n 0 leaves that part out.
            """)

    @OptionGroup var arguments: ModelArguments

    @Option(name: .customShort("p"), help: "Prompt lengths, comma-separated.")
    var prompts = "512"

    @Option(name: .customShort("n"), help: "Tokens to decode per sequence.")
    var tokens = 64

    @Option(name: .customShort("b"), help: "Sequences that decode together, comma-separated.")
    var batches = "1"

    @Option(name: .customLong("kv-depth"), help: "Tokens cached before decoding begins.")
    var depth = 0

    @Flag(
        name: .customLong("copy-prompt"),
        help: "Fill --kv-depth with copies of the first 512 cached tokens, for great depths.")
    var copiesPrompt = false

    @Flag(
        name: .customLong("dense"),
        help: "Decode with dense attention too, where the network's is sparse; print the ratio.")
    var comparesDense = false

    @Option(name: .shortAndLong, help: "Measurements of each figure.")
    var repetitions = 3

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard (0 ... 1 << 20).contains(tokens), (0 ... 1 << 20).contains(depth) else {
            throw ValidationError("-n and --kv-depth go from 0 to 1048576")
        }
        guard (1 ... 1000).contains(repetitions) else {
            throw ValidationError("--repetitions \(repetitions) is outside 1...1000")
        }
        for list in [prompts, batches] { _ = try numbers(list) }
    }

    func run() throws {
        let report = try reporting {
            let (loaded, load, peak) = try loadTimed()
            var plan = ModelBenchmark.Plan()
            plan.prefill = try numbers(prompts)
            plan.batches = try numbers(batches)
            plan.decodeTokens = tokens
            plan.depth = depth
            plan.copiesPrompt = copiesPrompt
            plan.comparesDense = comparesDense
            plan.repetitions = repetitions
            var report = try ModelBenchmark(
                loaded.model, pool: loaded.pool, plan: plan, format: loaded.format
            ).run()
            report.load = load
            report.memory.peakLoading = peak
            return report
        }
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            print(String(decoding: try encoder.encode(report), as: UTF8.self))
        } else {
            print(report.table, terminator: "")
        }
    }

    /// Loads the model from files that were just read, so that all times are of cached pages where
    /// memory holds them; and into memory that was just used, as the plain read's second time.
    private func loadTimed() throws -> (LoadedModel, ModelBenchmark.LoadFigure, peak: Int) {
        let checkpoint = try Checkpoint(directory: arguments.model)
        let pool = ThreadPool(threads: arguments.threads())
        let paths = checkpoint.shards.map(\.path)
        let bytes = checkpoint.shards.reduce(0) { $0 + $1.byteCount }
        func secondTime(_ target: Limits.ReadTarget) throws -> Double {
            _ = try Limits.plainRead(of: paths, into: target, pool: pool)
            return try Limits.plainRead(of: paths, into: target, pool: pool)
        }
        let plain = try secondTime(.oneBuffer)
        // Half as much again: what the system would free for us are the files' own pages.
        let isRoom = ResidentMemory.free > bytes + bytes / 2
        let fresh = isRoom ? try secondTime(.freshMemory) : nil
        ResidentMemory.forgetPeak()
        let start = ContinuousClock.now
        let loaded = try arguments.load()
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        return (
            loaded,
            ModelBenchmark.LoadFigure(
                bytes: bytes, seconds: seconds, freshReadSeconds: fresh, plainReadSeconds: plain),
            ResidentMemory.peak
        )
    }

    private func numbers(_ list: String) throws -> [Int] {
        try list.split(separator: ",").map { part in
            guard let number = Int(part), (0 ... 1 << 20).contains(number) else {
                throw ValidationError("\(part) is not a number from 0 to 1048576")
            }
            return number
        }
    }
}

extension ModelBenchmark.TimeFigure {
    /// Where the time went, in a line.
    fileprivate func line(_ name: String) -> String {
        String(
            format: """
                %@: matrix products take %.0f%% of the time, at %.0f%% of peak; attention %.0f%%, \
                at %.0f%%; the rest %.0f%%

                """, name, products * 100, productPeakFraction * 100, attention * 100,
            attentionPeakFraction * 100, (1 - products - attention) * 100)
    }
}

extension ModelBenchmark.Report {
    /// A table as llama-bench prints it, with a column for the limit each figure runs against.
    var table: String {
        var text =
            "| test         |          tokens/s |                              of the limit |\n"
        text += "|:-------------|------------------:|------------------------------------------:|\n"
        func row(_ name: String, _ figure: ModelBenchmark.Figure, isDecode: Bool) {
            let rate = String(format: "%.2f ± %.2f", figure.tokensPerSecond, figure.deviation)
            let read = String(
                format: "%.1f of %.1f GB/s (%.0f%%)",
                figure.bandwidthFraction * figure.limit.readBytesPerSecond / 1e9,
                figure.limit.readBytesPerSecond / 1e9, figure.bandwidthFraction * 100)
            let operations = String(
                format: "%.0f of %.0f GFLOP/s (%.0f%%)",
                figure.peakFraction * figure.limit.peakOperationsPerSecond / 1e9,
                figure.limit.peakOperationsPerSecond / 1e9, figure.peakFraction * 100)
            let isBound = figure.bandwidthFraction > figure.peakFraction
            let limit = isBound ? read : operations
            text += "| " + name.padding(toLength: 12, withPad: " ", startingAt: 0) + " | "
            text += String(repeating: " ", count: max(0, 17 - rate.count)) + rate + " | "
            text += String(repeating: " ", count: max(0, 41 - limit.count)) + limit + " |\n"
        }
        for figure in prefill { row("prefill \(figure.tokens ?? 0)", figure, isDecode: false) }
        for figure in decode { row("decode x\(figure.batch ?? 0)", figure, isDecode: true) }
        for figure in dense { row("dense x\(figure.batch ?? 0)", figure, isDecode: true) }
        for figure in prefill { text += figure.inside.line("prefill \(figure.tokens ?? 0)") }
        for figure in decode { text += figure.inside.line("decode x\(figure.batch ?? 0)") }
        for (sparse, dense) in zip(decode, dense) { text += sparse.line(beside: dense) }
        if let load {
            text += load.line + "\n"
        }
        if memory.resident > 0 { text += memory.lines }
        return text
    }
}

extension ModelBenchmark.Figure {
    /// How much faster sparse attention decodes than dense attention.
    fileprivate func line(beside dense: ModelBenchmark.Figure) -> String {
        dense.inside.line("dense x\(batch ?? 0)")
            + String(
                format: "x%d: sparse attention decodes %.2fx as fast as dense; reads %.1f GB/s, "
                    + "%.0f%% of what memory gives (dense %.1f GB/s, %.0f%%)\n", batch ?? 0,
                tokensPerSecond / dense.tokensPerSecond,
                bandwidthFraction * limit.readBytesPerSecond / 1e9, bandwidthFraction * 100,
                dense.bandwidthFraction * dense.limit.readBytesPerSecond / 1e9,
                dense.bandwidthFraction * 100)
    }
}

extension ModelBenchmark.LoadFigure {
    /// How long loading took, beside two ways of reading the same bytes and no more.
    fileprivate var line: String {
        var text = String(
            format: "loaded %.2f GB in %.2f s (%.1f GB/s)", Double(bytes) / 1e9, seconds,
            Double(bytes) / 1e9 / seconds)
        if let freshReadSeconds {
            text += String(
                format: "; reading them into fresh memory takes %.2f s (%.1fx)", freshReadSeconds,
                seconds / freshReadSeconds)
        }
        text += String(
            format: "; into one small buffer %.2f s (%.1fx)", plainReadSeconds,
            seconds / plainReadSeconds)
        return text
    }
}

extension ModelBenchmark.MemoryFigure {
    /// Who holds the memory, and the most that loading held.
    fileprivate var lines: String {
        String(
            format: "memory: %.2f GB packed weights, %.0f MB of the mapped embedding, "
                + "%.0f MB cache; %.0f MB beyond, of which the largest activation %.0f MB "
                + "(limit %.0f MB)\n",
            Double(weights) / 1e9, Double(mappedWeights) / 1e6, Double(cache) / 1e6,
            Double(beyond) / 1e6, Double(largestActivation) / 1e6, Double(limit) / 1e6)
            + String(
                format: "peak while loading: %.2f GB, %.0f MB beyond the weights\n",
                Double(peakLoading) / 1e9, Double(peakLoading - weights) / 1e6)
    }
}
