import Foundation
import Glibc
import Testing

/// Training as people start it: `apus train`, a coordinator and a worker per rank.
@Suite(.serialized) struct TrainingJobTests {
    /// A job file and its text in a folder of their own.
    final class Training {
        let folder: URL
        private var process = Program()

        /// Steps that no test waits for: it ends the job itself.
        static let endless = 100_000

        init(_ more: String, steps: Int = 12, microBatches: Int = 4) throws {
            folder = FileManager.default.temporaryDirectory.appending(
                path: "apus-train-test-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let text = (0 ..< 200).map { "{\"text\": \"swift number \($0 % 17) flies home\"}" }
            try write("text.jsonl", text.joined(separator: "\n"))
            try write(
                "job.yaml",
                """
                model: \(RunningJob.model)
                tokenizer: \(RunningJob.model)
                train: [text.jsonl]
                output: run
                steps: \(steps)
                sequenceLength: 64
                microBatches: \(microBatches)
                checkpointEvery: 3
                \(more)
                """)
        }

        deinit {
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            try? FileManager.default.removeItem(at: folder)
        }

        func write(_ name: String, _ text: String) throws {
            try Data(text.utf8).write(to: folder.appending(path: name))
        }

        func read(_ name: String) -> String {
            (try? String(contentsOf: folder.appending(path: name), encoding: .utf8)) ?? ""
        }

        func path(_ name: String) -> String {
            folder.appending(path: name).path(percentEncoded: false)
        }

        /// - Parameter output: Where its output goes, if not to the file "out".
        func start(_ arguments: [String] = [], output: FileHandle? = nil) throws {
            process = Program()
            process.executableURL = RunningJob.programs.appending(path: "apus")
            process.arguments = ["train", path("job.yaml")] + arguments
            process.environment = ProcessInfo.processInfo.environment.merging([
                "APUS_JOBS": path("jobs")
            ]) { $1 }
            process.standardInput = FileHandle.nullDevice
            for name in ["out", "err"] { try write(name, "") }
            process.standardOutput =
                try output ?? FileHandle(forWritingTo: folder.appending(path: "out"))
            process.standardError = try FileHandle(forWritingTo: folder.appending(path: "err"))
            try process.run()
        }

        /// The exit status; nil when the job does not end in time.
        func wait(seconds: Double = 90) -> Int32? {
            process.exitStatus(within: seconds)
        }

        func signal(_ number: Int32) { kill(process.processIdentifier, number) }

        /// Blocks until so many steps are done.
        func waitUntil(steps: Int) async throws {
            try await Wait.until("\(steps) steps are done: \(read("err"))", seconds: 90) {
                if losses.count >= steps { return true }
                guard process.isRunning else {
                    throw Failure("the job ended after \(losses.count) steps: \(read("err"))")
                }
                return false
            }
        }

        /// Blocks until a run can go on from a checkpoint: one that is being written has a longer
        /// name.
        func waitForCheckpoint() async throws {
            try await Wait.until("a checkpoint is there: \(read("err"))", seconds: 90) {
                let names = try? FileManager.default.contentsOfDirectory(
                    atPath: path("run/checkpoints"))
                return names?.contains { $0.wholeMatch(of: /step-\d+/) != nil } == true
            }
        }

        /// The losses of every step whose line is written whole.
        var losses: [Substring] {
            let text = read("run/metrics.jsonl")
            guard let end = text.lastIndex(of: "\n") else { return [] }
            return text[..<end].split(separator: "\n").compactMap { line in
                line.split(separator: ",").first { $0.contains("\"loss\"") }
            }
        }

        /// The worker of a rank, found by this job's folder in its arguments.
        func worker(rank: Int) -> Int32? {
            ProcessFiles.all().first { pid in
                let words = ProcessFiles.words(of: pid)
                guard let place = words.firstIndex(of: "--rank") else { return false }
                return words[0].hasSuffix("apus-worker") && words[place + 1] == "\(rank)"
                    && words.contains { $0.hasPrefix(path("jobs")) }
            }
        }
    }

    @Test func `a killed rank ends the job with its name, and a resumed one repeats the losses`()
        async throws
    {
        let shape = "schedule: dualpipe\npipelineRanks: 2"
        let broken = try Training(shape, steps: Training.endless)
        try broken.start()
        try await broken.waitUntil(steps: 5)
        kill(try #require(broken.worker(rank: 1)), SIGKILL)
        #expect(broken.wait() == 3)
        #expect(broken.read("err").contains("rank 1 was lost in phase train"))
        #expect(broken.read("out").contains("go on with --resume"))
        // Beyond what the killed one has written, which the resumed one writes again.
        let count = broken.losses.count + 5
        let whole = try Training(shape, steps: Training.endless)
        for (training, words) in [(broken, ["--resume"]), (whole, [String]())] {
            try training.start(words)
            try await training.waitUntil(steps: count)
            training.signal(SIGINT)
            #expect(training.wait() == 128 + SIGINT, "\(training.read("err"))")
        }
        #expect(broken.losses.prefix(count) == whole.losses.prefix(count))
    }

    @Test func `bad input is one line and one exit code, before any process starts`() throws {
        let training = try Training("pipelineRanks: 3")
        try training.start()
        #expect(training.wait() == 2)
        let message = "apus: 4 layers (num_hidden_layers) do not divide into 3 stages\n"
        #expect(training.read("err") == message)
        #expect(!FileManager.default.fileExists(atPath: training.path("jobs")))
    }

    @Test func `a model of ours teaches another`() throws {
        let serving = try RunningJob(ranks: 1, transport: "auto")
        let port = try serving.waitUntilServing().port
        let training = try Training(
            """
            teacher: {url: "http://127.0.0.1:\(port)/v1", model: stories-fp8,
              prompts: [prompts.txt], samples: 2, maxTokens: 40}
            """)
        try training.write("prompts.txt", "Once upon a time\nThe little dog\n")
        try training.start()
        #expect(training.wait() == 0, "\(training.read("err"))")
        let lines = training.read("run/teacher.jsonl").split(separator: "\n")
        #expect(lines.count == 4)
        #expect(Set(lines).count == 4)
        #expect(lines[0].contains("Once upon a time"))
        #expect(training.losses.count == 12)
        #expect(training.read("out").contains("step 12/12"))
        #expect(serving.stop() == 0)
        try training.start(["--resume"])
        #expect(training.wait() == 0, "all that was asked is recorded: \(training.read("err"))")
    }

    @Test func `a teacher that is not there is named before any work`() throws {
        let training = try Training(
            "teacher: {url: \"http://127.0.0.1:1/v1\", model: m, prompts: [text.jsonl]}")
        try training.start()
        #expect(training.wait() == 2)
        #expect(training.read("err").hasPrefix("apus: the teacher at http://127.0.0.1:1/v1/"))
        #expect(training.losses.isEmpty)
    }

    @Test(.enabled(if: geteuid() == 0, "network namespaces need root"))
    func `a lab trains to the losses of this machine, and a killed rank is named`() async throws {
        let shape = "schedule: dualpipe\npipelineRanks: 2"
        let here = try Training(shape)
        try here.start()
        #expect(here.wait() == 0, "\(here.read("err"))")
        let training = try Training(shape)
        let lab = """
            name: train-\(getpid())
            about: Two nodes of one rank for a test.
            nodes: [{name: node0}, {name: node1}]
            planes: [{name: plane0, gigabitsPerSecond: 4}]
            """
        try training.write("lab.yaml", lab)
        try training.start(["--lab", training.path("lab.yaml")])
        #expect(training.wait() == 0, "\(training.read("err"))")
        #expect(training.losses == here.losses)
        let broken = try Training(shape, steps: Training.endless)
        try broken.write("lab.yaml", lab)
        try broken.start(["--lab", broken.path("lab.yaml")])
        try await broken.waitUntil(steps: 2)
        kill(try #require(broken.worker(rank: 1)), SIGKILL)
        #expect(broken.wait() == 3)
        #expect(broken.read("err").contains("rank 1 was lost in phase train"))
    }
}
