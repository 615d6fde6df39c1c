import Foundation
import Glibc
import Testing

/// The user's tool, given what it must not choke on.
@Suite(.serialized) struct CommandTests {
    static let model = RunningJob.model

    @Test(arguments: [
        ["bench", "all-to-all", "--experts", "0"],
        ["bench", "all-to-all", "--experts", "9223372036854775807"],
        ["bench", "all-to-all", "--limit", "inf"], ["bench", "all-to-all", "--limit", "1e30"],
        ["bench", "all-to-all", "--pressure", "nan"],
        ["bench", "all-to-all", "--pressure", "1e300"],
        ["bench", "all-to-all", "--warm-up", "9223372036854775807"],
        ["bench", "all-to-all", "--transport", "loopback", "--ranks", "300"],
        ["bench", "serve", "--port", "99999"],
        ["schedule", "--forward", "1e308", "--backward-input", "1e308"],
        ["train", "speed", model + "/config.json", "--steps", "0"],
        ["train", "speed", model + "/config.json", "--threads", "0"],
        ["train", "speed", model + "/config.json", "--sequence-length", "0"],
        ["train", "speed", model + "/tokenizer.json"],
        ["serve", "--model", model, "--ranks", "0"],
        ["serve", "--model", model, "--ranks", "1000"],
        ["serve", "--model", model, "--port", "99999"],
        ["serve", "--model", model, "--batch", "0"],
        ["serve", "--model", model, "--cache-tokens", "0"],
        ["generate", "--model", model, "--prompt", "x", "--ranks", "64"],
        ["generate", "--model", model, "--prompt", "x", "--logit-bias", "2048:1"],
        ["generate", "--model", model, "--prompt", "x", "--logit-bias", "7"],
        ["generate", "--model", model, "--prompt", "x", "--min-p", "nan"],
        ["schedule", "--ranks=-9223372036854775807", "--micro-batches", "2"],
        ["evaluate", "--model", model, "--tokens", "/dev/null", "--logits", "/"],
        ["schedule", "--measured", "/dev/null"],
        ["schedule", "--measured", "/dev/null", "--svg", "/dev/null"],
        ["train", "nosuch.yaml", "--in-process", "--lab", "topology/two-nodes-4g.yaml"],
    ])
    func `a value beyond its limit is refused in words`(arguments: [String]) throws {
        let (status, output) = try RunningJob.run("apus", arguments)
        // 64 is how the argument parser says that the usage is wrong.
        #expect(status == 2 || status == 64, "\(status): \(output)")
        #expect(!output.contains("Fatal error") && !output.contains("backtrace"))
        #expect(output.split(separator: "\n").count <= 4, "\(output)")
    }

    @Test(arguments: [
        (["bench", "all-to-all", "--ranks", "-1"], "--ranks -1 is outside 1...1024"),
        (["generate", "--model", model, "--prompt", "x", "--temperature", "-0.5"], "-0.5"),
        (["logs", "--rank", "-2"], "--rank -2 is below 0"),
    ])
    func `a number below its limit is told from a missing one`(
        words: [String], fact: String
    ) throws {
        let (status, output) = try RunningJob.run("apus", words)
        #expect(status == 2)
        #expect(output.contains(fact) && !output.contains("Missing value"), "\(output)")
    }

    @Test func `biases and penalties of generate decide what is written`() throws {
        let (status, output) = try RunningJob.run(
            "apus",
            [
                "generate", "--model", Self.model, "--prompt-tokens", "1,2,3", "--json",
                "--max-new-tokens", "4", "--logit-bias", "55:100", "--logit-bias", "88:98",
                "--presence-penalty", "50", "--compute", "fp32",
            ])
        #expect(status == 0)
        let words = output.filter { !$0.isWhitespace }
        #expect(words.contains(#""tokens":[55,88,"#), "\(output)")
    }

    @Test(arguments: ["apus", "apus-coordinator", "apus-worker"])
    func `every program tells one version`(program: String) throws {
        let (status, output) = try RunningJob.run(program, ["--version"])
        #expect(status == 0)
        let version = try #require(output.split(separator: " ").last)
        #expect(output.hasPrefix("\(program) "), "\(output)")
        #expect(version.split(separator: ".").count == 3, "\(output)")
        #expect(try RunningJob.run("apus", ["--version"]).output == "apus \(version)")
    }

    @Test func `inspect refuses what cannot be loaded, and summarises a lone configuration`()
        throws
    {
        let folder = try Folder()
        try FileManager.default.copyItem(
            atPath: Self.model + "/config.json", toPath: folder.path + "/config.json")
        let (lone, summary) = try RunningJob.run("apus", ["inspect", folder.path])
        #expect(lone == 0 && summary.contains("the folder holds no weights"), "\(summary)")
        try Data([0]).write(to: URL(filePath: folder.path + "/pytorch_model.bin"))
        let (status, output) = try RunningJob.run("apus", ["inspect", folder.path])
        #expect(status == 2 && output.contains("holds pytorch_model.bin"), "\(output)")
    }

    @Test func `logits are not written over a folder`() throws {
        let folder = try Folder()
        let tokens = folder.path + "/tokens"
        try Data("0 1 2 3".utf8).write(to: URL(filePath: tokens))
        let (status, output) = try RunningJob.run(
            "apus",
            ["evaluate", "--model", Self.model, "--tokens", tokens, "--logits", folder.path])
        #expect(status == 2)
        #expect(output.contains("is a folder"))
        #expect(FileManager.default.fileExists(atPath: tokens))
    }

    @Test func `ranks of a training run end with the process that started them`() throws {
        let run = try Training()
        kill(run.process.processIdentifier, SIGTERM)
        #expect(run.wait(seconds: 10) == 128 + SIGTERM)
        #expect(run.ranks().isEmpty)
    }

    @Test func `a training run ends when one of its ranks stops`() throws {
        let run = try Training()
        let rank = try #require(run.ranks(of: "apus-worker").last)
        kill(rank, SIGSTOP)
        #expect(run.wait(seconds: 60) == 3)
        #expect(run.ranks().isEmpty)
    }

    /// A folder that goes away with the test.
    final class Folder {
        let path: String

        init() throws {
            path = FileManager.default.temporaryDirectory.appending(
                path: "apus-command-\(UUID().uuidString)"
            ).path(percentEncoded: false)
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    /// `apus train` with two ranks, some steps on its way.
    final class Training {
        let folder: Folder
        let process = Program()

        init() throws {
            folder = try Folder()
            let text = (0 ..< 200).map { "The dog number \($0) likes to play ball." }
            try text.joined(separator: "\n").write(
                toFile: folder.path + "/text.txt", atomically: true, encoding: .utf8)
            let job = """
                model: \(CommandTests.model)
                tokenizer: \(CommandTests.model)
                train: [text.txt]
                output: run
                steps: 100000
                sequence_length: 16
                micro_batches: 4
                pipeline_ranks: 2
                schedule: dualpipe
                """
            let file = folder.path + "/job.yaml"
            try job.write(toFile: file, atomically: true, encoding: .utf8)
            process.executableURL = RunningJob.programs.appending(path: "apus")
            process.arguments = ["train", file]
            process.environment = ProcessInfo.processInfo.environment.merging([
                "APUS_JOBS": folder.path + "/jobs"
            ]) { $1 }
            process.standardInput = FileHandle.nullDevice
            process.standardOutput = FileHandle.nullDevice
            try process.run()
            let limit = ContinuousClock.now + .seconds(60)
            while lines() < 2 {
                guard process.isRunning, .now < limit else {
                    throw Failure("the run does not train")
                }
                usleep(50_000)
            }
        }

        deinit {
            for rank in ranks() { kill(rank, SIGKILL) }
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        }

        private func lines() -> Int {
            let data = FileManager.default.contents(atPath: folder.path + "/run/metrics.jsonl")
            return data?.count { $0 == UInt8(ascii: "\n") } ?? 0
        }

        /// Processes with the job's folder in their arguments, but the one that was started.
        func ranks(of program: String = "") -> [Int32] {
            ProcessFiles.all().filter { pid in
                let words = ProcessFiles.words(of: pid).joined(separator: " ")
                return pid != process.processIdentifier && words.contains(folder.path)
                    && (program.isEmpty || words.contains(program))
            }
        }

        /// The exit status, nil if it does not come in time.
        func wait(seconds: Double) -> Int32? {
            process.exitStatus(within: seconds)
        }
    }
}
