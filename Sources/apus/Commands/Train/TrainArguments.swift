import ArgumentParser
import Cluster
import Foundation
import Glibc
import Topology
import Training
import Transport

/// Where the ranks of a training job run: in this process, on this machine, or in a lab.
struct TrainArguments: ParsableArguments {
    @Argument(help: "A training job, as those in cluster/training.")
    var file: String

    @Flag(help: "Run the ranks as threads of this process.")
    var inProcess = false

    @Option(help: "A file of topology/: run the ranks in network namespaces wired like it.")
    var lab: String?

    func validate() throws {
        if inProcess, lab != nil {
            throw ValidationError(
                "--in-process runs threads of this process: they cannot be in the nodes of --lab")
        }
    }

    /// Runs a job to its end.
    func run(_ launch: TrainingLaunch) async throws {
        let job = try reporting {
            let job = try TrainingJob.load(path: file) {
                StandardStream.error.say("apus: \($0)\n")
            }
            try launch.check(job)
            return job
        }
        if let teacher = job.teacher {
            do {
                try TeacherClient(teacher).record(for: job)
            } catch { return try reporting { throw error } }
        }
        try reporting { try run(job, launch) }
    }

    private func run(_ job: TrainingJob, _ launch: TrainingLaunch) throws {
        let shape = try job.shape()
        if lab == nil, shape.rankCount == 1 || inProcess {
            watchForStop(job, launch)
            let observer = TrainingObserver(said: { line in
                try StandardStream.output.write(line + "\n")
            })
            try launch.runInThreads(job, observer: observer)
        } else {
            try start(job, shape, launch)
        }
    }

    /// Ends this process when it is asked to: a step has no place to stop in, and what is on disk
    /// is a whole checkpoint at any moment.
    private func watchForStop(_ job: TrainingJob, _ launch: TrainingLaunch) {
        let stop = StopFlag.onSignals()
        Thread.detachNewThread {
            while !stop.isRaised { stop.wait(60) }
            StandardStream.output.say("the job was stopped\n")
            if let hint = Self.hint(job, launch) { StandardStream.output.say(hint + "\n") }
            _exit(ExitStatus.signal(stop.raisedBy ?? 0).code)
        }
    }

    /// How to go on with a run that ended before its time, if there is a way.
    private static func hint(_ job: TrainingJob, _ launch: TrainingLaunch) -> String? {
        guard !launch.profiles,
            let newest = TrainingCheckpoint.newest(in: job.output + "/checkpoints")
        else { return nil }
        return "the newest checkpoint is \(newest): go on with --resume"
    }

    /// Starts a coordinator and a worker per rank, and stays until the job ends.
    private func start(
        _ job: TrainingJob, _ shape: ParallelShape, _ launch: TrainingLaunch
    ) throws {
        var configuration = JobConfiguration()
        configuration.name = "train"
        configuration.work = .train(
            TrainingWork(
                file: URL(filePath: file).standardizedFileURL.path(percentEncoded: false),
                settings: try settings(launch)))
        configuration.groups = .one(.train, rankCount: shape.rankCount)
        configuration.threads = job.threads
        configuration.transport = TransportKind(rawValue: job.transport) ?? .auto
        configuration.lab = lab ?? ""
        try configuration.validate(path: file)
        let launcher = try Launcher(configuration)
        let stop = StopFlag.onSignals()
        let screen = JobScreen(isTerminal: isatty(STDOUT_FILENO) == 1, stop: stop)
        screen.say("job folder: \(launcher.folder.url.path(percentEncoded: false))")
        let lines = LogTail(job.logPath)
        let result = Result {
            try launcher.run(
                stop: stop,
                display: Launcher.Display(
                    snapshot: { snapshot in
                        screen.show(snapshot)
                        for line in lines.new() { screen.say(line) }
                    }, ready: { _ in }, told: { screen.say($0) }))
        }
        for line in lines.new() { screen.say(line) }
        try screen.check()
        do {
            try result.get()
        } catch {
            if let hint = Self.hint(job, launch) { screen.say(hint) }
            throw error
        }
        if let signal = stop.raisedBy {
            screen.say("the job was stopped")
            if let hint = Self.hint(job, launch) { screen.say(hint) }
            throw ExitCode(.signal(signal))
        }
    }

    /// What every rank is told, as the job's configuration carries it.
    private func settings(_ launch: TrainingLaunch) throws -> [String: SettingValue] {
        try JSONDecoder().decode(
            [String: SettingValue].self, from: JSONEncoder().encode(launch))
    }
}
