import ArgumentParser
import Benchmarks
import Cluster
import Foundation
import Topology

/// `apus plan check`: predicted times beside times that labs of this machine measure.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Predicts exchanges in labs of this machine, and measures them.",
        discussion: """
            Measures an anchor on this machine: one exchange through memory and one through \
            sockets that no rate limits. Then it predicts dispatch and combine of serving in \
            \(PredictionSetting.all.count) labs of 1 to 4 nodes from their topology files, runs \
            apus bench all-to-all in each, and prints both. No setting is fitted. Needs root and \
            iproute2, as apus lab does, and a machine that does nothing else; takes some minutes. \
            Exits with 1 where the median error is above 10% or the worst above 20%.

            Examples:
              apus plan check
              apus plan check --tokens 256 --iterations 5
              apus plan check --first 4 --json
            """)

    @Option(help: "Tokens of a rank.") var tokens = 512
    @Option(help: "Values of a token.") var hidden = 7168
    @Option(help: "Measured exchanges of a setting.") var iterations = 10
    @Option(help: "Decides routing and data.") var seed: UInt64 = 1
    @Option(help: "Run only the first settings, so many.")
    var first = PredictionSetting.all.count
    @Flag(help: "Print one JSON object.") var json = false

    /// A setting takes some seconds; slow machines take longer.
    private static let limit = Duration.seconds(600)

    /// The anchor is short and decides all predictions, so it is measured so many times as often.
    private static let anchorIterations = 5

    func validate() throws {
        guard (1 ... 4096).contains(tokens) else {
            throw ValidationError("--tokens \(tokens) is not 1 to 4096")
        }
        guard (128 ... 65536).contains(hidden), hidden.isMultiple(of: 128) else {
            throw ValidationError("--hidden \(hidden) is not a multiple of 128 from 128 to 65536")
        }
        guard (1 ... 1000).contains(iterations) else {
            throw ValidationError("--iterations \(iterations) is not 1 to 1000")
        }
        guard (1 ... PredictionSetting.all.count).contains(first) else {
            throw ValidationError("--first \(first) is not 1 to \(PredictionSetting.all.count)")
        }
    }

    func run() throws {
        try reporting {
            let report = try measured()
            if json { try printObject(report) } else { print(report.text) }
            if !report.isWithinLimits { throw ExitCode(.failed) }
        }
    }

    private func measured() throws -> PredictionReport {
        var options = AllToAllOptions(path: .serving)
        (options.tokenCount, options.hiddenSize, options.seed) = (tokens, hidden, seed)
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "apus-plan-check-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let stop = StopFlag.onSignals()
        let progress = Progress(isShown: true)
        defer { progress.clear() }
        func measure(_ name: String, _ setting: PredictionSetting) throws -> MeasuredExchange {
            progress.show("\(name): \(setting.title)")
            return try exchange(setting, folder, stop, iterations: iterations)
        }
        func anchor(_ name: String, _ setting: PredictionSetting) throws -> MeasuredExchange {
            progress.show("\(name): \(setting.title)")
            return try exchange(
                setting, folder, stop, iterations: iterations * Self.anchorIterations)
        }
        let load = Self.loadAverage
        let memory = try anchor("anchor 1 of 2", .memoryAnchor)
        let sockets = try anchor("anchor 2 of 2", .socketAnchor)
        let cores = CoreLimit.ofProcess.cores
        let prediction = try ExchangePrediction(
            options, cores: cores, memory: memory, sockets: sockets)
        let settings = PredictionSetting.all.prefix(first)
        let rows = try settings.enumerated().map { index, setting in
            try PredictionReport.Row(
                setting, prediction,
                measure("setting \(index + 1) of \(settings.count)", setting))
        }
        return PredictionReport(
            options, cores: cores, loadAverage: load, memory: memory, sockets: sockets, rows: rows)
    }

    /// The first number of `/proc/loadavg` (proc(5)).
    private static var loadAverage: Double? {
        SystemFiles().text("proc/loadavg")?.split(separator: " ").first.flatMap { Double($0) }
    }

    /// Runs one setting in a lab of its own, which the started program removes at its end.
    ///
    /// - Throws: `ExitCode` after a signal, once the lab is gone; `ClusterError` with the program's
    ///   words if it fails or is late.
    private func exchange(
        _ setting: PredictionSetting, _ folder: URL, _ stop: StopFlag, iterations: Int
    ) throws -> MeasuredExchange {
        let file = folder.appending(path: "lab.yaml").path(percentEncoded: false)
        try setting.topology.write(toFile: file, atomically: true, encoding: .utf8)
        var command = Command.ownCommand
        command.words = [
            command.words[0], "bench", "all-to-all", "--lab", file, "--tokens", "\(tokens)",
            "--hidden", "\(hidden)", "--top-k", "\(setting.topK)", "--routing", setting.routing,
            "--iterations", "\(iterations)", "--seed", "\(seed)", "--json",
        ]
        let begun = ContinuousClock.now
        let child = try Child(command, output: .captured)
        let deadline = begun + Self.limit
        while child.end == nil, !stop.isRaised, ContinuousClock.now < deadline { stop.wait(0.1) }
        if child.end == nil {
            _ = child.wait(begun + Self.startPatience - ContinuousClock.now)
            child.end(within: Self.patience)
        }
        if let signal = stop.raisedBy { throw ExitCode(.signal(signal)) }
        let (output, errors) = child.captured()
        guard child.end?.isSuccess == true else {
            let words = errors.split(separator: "\n").joined(separator: "; ")
            throw ClusterError.command(
                "apus bench all-to-all of \(setting.title) failed or took longer than "
                    + "\(Self.limit): \(words)")
        }
        return try MeasuredExchange(json: output)
    }

    /// What the program may take until it heeds signals: it inherits that this one ignores SIGTERM,
    /// which is sent once.
    private static let startPatience = Duration.seconds(1)

    /// What the program may take to end its ranks and remove its lab.
    private static let patience = Duration.seconds(60)
}
