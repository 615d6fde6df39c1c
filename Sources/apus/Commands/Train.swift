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
              apus train export run/checkpoints/step-00001500 --to stories --tokenizer tokenizer

            The ranks of a job are processes on this machine. metrics.jsonl, loss.svg, timeline.svg
            and the checkpoints are in the job's output folder.
            """,
        subcommands: [TrainRun.self, TrainExport.self, TrainSpeed.self],
        defaultSubcommand: TrainRun.self)
}

/// `apus train FILE.yaml`.
struct TrainRun: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Runs a training job (the default).")

    @Argument(help: "The job file.")
    var file: String

    @Flag(help: "Go on from the newest checkpoint.")
    var resume = false

    @Flag(help: "Run the ranks as threads of this process.")
    var inProcess = false

    @Option(help: .hidden)
    var workerRank: Int?

    @Option(help: .hidden)
    var rendezvous: String?

    func run() async throws {
        try reporting {
            let job = try TrainingJob.load(path: file)
            let shape = try job.options().shape
            if let workerRank, let rendezvous {
                try work(job, shape, rank: workerRank, rendezvous: rendezvous)
            } else if shape.rankCount == 1 || inProcess {
                try LocalRanks.run(shape) { place in
                    try trainer(job).run(fabric: place.fabric, experts: place.experts)
                }
            } else {
                try launch(shape)
            }
        }
    }

    private func trainer(_ job: TrainingJob) -> TrainingRun {
        TrainingRun(job, resumes: resume) { line in
            FileHandle.standardOutput.write(Data((line + "\n").utf8))
        }
    }

    /// One rank of a job whose ranks are processes.
    private func work(
        _ job: TrainingJob, _ shape: ParallelShape, rank: Int, rendezvous: String
    ) throws {
        ParentProcess.followIntoDeath()
        let fabric = try join(rendezvous + "/all", rank: rank, of: shape.rankCount)
        defer { fabric.close() }
        var experts: (any Fabric)?
        if shape.sharesExperts {
            let place = shape.pipelineRank(of: Rank(rawValue: rank)).rawValue
            experts = try join(
                rendezvous + "/experts-\(place)", rank: shape.dataRank(of: Rank(rawValue: rank)),
                of: shape.dataRanks)
        }
        defer { experts?.close() }
        try trainer(job).run(fabric: fabric, experts: experts)
        try fabric.barrier(deadline: Deadline(.seconds(60), "the end"))
    }

    private func join(_ folder: String, rank: Int, of count: Int) throws -> any Fabric {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        let exchange = FileExchange(
            directory: folder, rank: Rank(rawValue: rank), rankCount: count, token: rendezvous ?? ""
        )
        return try makeFabric(
            FabricConfiguration(rank: Rank(rawValue: rank), rankCount: count, transport: .shm),
            exchange: exchange)
    }

    /// Starts a process per rank and waits for all; the first that fails decides the exit code.
    ///
    /// Ctrl-C and SIGTERM end the ranks, which are process groups of their own.
    private func launch(_ shape: ParallelShape) throws {
        let stop = StopFlag.onSignals()
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "apus-train-\(ProcessInfo.processInfo.processIdentifier)").path(
                percentEncoded: false)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var workers: [Process] = []
        defer { for worker in workers where worker.isRunning { worker.terminate() } }
        for rank in 0 ..< shape.rankCount {
            let process = Process()
            process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
            process.arguments =
                ["train", "run", file, "--worker-rank", "\(rank)", "--rendezvous", folder]
                + (resume ? ["--resume"] : [])
            try process.run()
            workers.append(process)
        }
        RankGroup.waitForAll(workers, stop: stop)
        if let signal = stop.raisedBy { throw ExitCode(128 + signal) }
        var code: Int32 = 0
        for (rank, worker) in workers.enumerated() {
            if worker.terminationReason == .uncaughtSignal {
                report("rank \(rank) ended by signal \(worker.terminationStatus)")
                code = 3
            } else if worker.terminationStatus != 0 && code == 0 {
                code = worker.terminationStatus
            }
        }
        if code != 0 { throw ExitCode(code) }
    }
}

/// `apus train export CHECKPOINT --to FOLDER`.
struct TrainExport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Writes a checkpoint as a Hugging Face DeepSeek-V3 folder.")

    @Argument(help: "A step-N folder of a run.")
    var checkpoint: String

    @Option(help: "The folder to write.")
    var to: String

    @Option(help: "A folder with tokenizer.json, whose files are copied.")
    var tokenizer: String?

    @Flag(help: "Store matrices as e4m3 with 128x128 scales instead of bf16.")
    var fp8 = false

    func run() throws {
        try reporting {
            try Export.write(
                checkpoint: checkpoint, to: to, format: fp8 ? .float8 : .bfloat16,
                tokenizer: tokenizer)
        }
    }
}

private func report(_ message: String) {
    FileHandle.standardError.write(Data("apus: \(message)\n".utf8))
}
