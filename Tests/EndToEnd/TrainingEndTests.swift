import Foundation
import Glibc
import Testing

/// How training jobs end before their time: by ranks that stall, by people, by their output.
@Suite(.serialized) struct TrainingEndTests {
    typealias Training = TrainingJobTests.Training
    private static let two = "schedule: dualpipe\npipelineRanks: 2"

    @Test func `a rank that stalls is named as the job numbers it, whoever waited for it`()
        async throws
    {
        let training = try Training(Self.two + "\ndataRanks: 2", steps: Training.endless)
        try training.start()
        try await training.waitUntil(steps: 2)
        kill(try #require(training.worker(rank: 3)), SIGSTOP)
        #expect(training.wait() == 3)
        let errors = training.read("err")
        #expect(errors.contains("rank 3 was lost in phase train"), "\(errors)")
        #expect(training.worker(rank: 3) == nil)
    }

    @Test func `a rank that is killed before it is in is a lost one`() async throws {
        let training = try Training(Self.two)
        try training.start()
        try await Wait.until("rank 1 is a process") { training.worker(rank: 1) != nil }
        kill(try #require(training.worker(rank: 1)), SIGKILL)
        #expect(training.wait() == 3)
        let errors = training.read("err")
        #expect(errors.contains("rank 1 was lost in phase"), "\(errors)")
    }

    @Test(arguments: ["", two])
    func `a reader that has seen enough ends the job`(shape: String) throws {
        let training = try Training(shape, steps: Training.endless)
        let pipe = Pipe()
        try training.start(output: pipe.fileHandleForWriting)
        try pipe.fileHandleForWriting.close()
        var read = Data()
        while !read.contains(UInt8(ascii: "\n")) {
            let more = pipe.fileHandleForReading.availableData
            try #require(!more.isEmpty, "no line came")
            read += more
        }
        try pipe.fileHandleForReading.close()
        #expect(training.wait() == 128 + SIGPIPE)
        #expect(training.read("err").isEmpty, "\(training.read("err"))")
        #expect(training.worker(rank: 1) == nil)
    }

    @Test(arguments: ["", two])
    func `a device that is full ends the job with one line`(shape: String) throws {
        let training = try Training(shape)
        try training.start(output: FileHandle(forWritingAtPath: "/dev/full"))
        #expect(training.wait() == 1)
        #expect(
            training.read("err")
                == "apus: standard output cannot be written: No space left on device\n")
        #expect(training.worker(rank: 1) == nil)
    }

    @Test(arguments: ["", two])
    func `Ctrl-C says how to go on, and lines come as they are made`(shape: String) async throws {
        // Steps are so long that a buffer of lines, 4096 bytes, would take many to fill.
        let training = try Training(shape, steps: Training.endless, microBatches: 8)
        try training.start()
        try await Wait.until("a line of a step: \(training.read("err"))") {
            training.read("out").contains("step 1/")
        }
        #expect(training.read("out").utf8.count < 4096)
        try await training.waitForCheckpoint()
        training.signal(SIGINT)
        #expect(training.wait() == 128 + SIGINT)
        let output = training.read("out")
        #expect(output.contains("the job was stopped\n"), "\(output)")
        #expect(output.contains("go on with --resume\n"), "\(output)")
    }

    @Test func `a lab that is not there is named by its path`() throws {
        let training = try Training(Self.two)
        try training.start(["--lab", "nosuch.yaml"])
        #expect(training.wait() == 2)
        #expect(training.read("err") == "apus: nosuch.yaml: there is no such file\n")
    }

    @Test func `what print could not write is an error`() throws {
        let process = Program()
        let errors = Pipe()
        process.executableURL = RunningJob.programs.appending(path: "apus")
        process.arguments = ["schedule", "--ranks", "2", "--micro-batches", "4"]
        process.standardOutput = FileHandle(forWritingAtPath: "/dev/full")
        process.standardError = errors
        try process.run()
        #expect(process.exitStatus(within: 30) == 1)
        let text = String(
            decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        #expect(
            text == "apus: standard output cannot be written: No space left on device\n")
    }
}
