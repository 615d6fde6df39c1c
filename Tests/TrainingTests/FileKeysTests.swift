import Foundation
import Models
import Testing

@testable import Training

/// The keys of a training file: their style, their defaults, and what is refused.
@Suite struct FileKeysTests {
    private static func load(_ more: String) throws -> (job: TrainingJob, warnings: [String]) {
        let folder = try RunTests.Folder()
        let path = try RunTests.writeJob(folder.path, more)
        var warnings: [String] = []
        let job = try TrainingJob.load(path: path) { warnings.append($0) }
        return (job, warnings.map { $0.replacing(folder.path + "/", with: "") })
    }

    @Test func `a file whose keys are in camelCase is read without a warning`() throws {
        let (job, warnings) = try Self.load("weightDecay: 0.5\nskipBadSteps: true")
        #expect(job.weightDecay == 0.5)
        #expect(job.skipBadSteps)
        #expect(warnings.isEmpty)
    }

    @Test func `old keys are read, and one warning names each with its new name`() throws {
        let (job, warnings) = try Self.load(
            """
            weight_decay: 0.5
            ema_decay: 0.75
            teacher: {url: "http://h/v1", model: m, prompts: [text.jsonl], max_tokens: 7}
            """)
        #expect(job.weightDecay == 0.5)
        #expect(job.emaDecay == 0.75)
        #expect(job.teacher?.maxTokens == 7)
        #expect(
            warnings == [
                "job.yaml: keys are in camelCase now: weight_decay is weightDecay, ema_decay is "
                    + "emaDecay, teacher.max_tokens is teacher.maxTokens; the next version refuses "
                    + "the old names"
            ])
    }

    @Test(arguments: [
        (
            "sequence_length: 16",
            "sequence_length is the old name of sequenceLength, which is there too"
        ),
        (
            "sequenceLenght: 16",
            "sequenceLenght is not a key of a training job: the nearest is sequenceLength"
        ),
        (
            "warmup_steps: 3",
            "warmup_steps is not a key of a training job: the nearest is warmUpSteps"
        ),
        (
            "teacher: {url: u, model: m, prompts: [p], key-variable: K}",
            "teacher.key-variable is not a key of a teacher: the nearest is teacher.keyVariable"
        ),
        ("weight_decay: heavy", "weightDecay is heavy: it must be a number"),
    ])
    func `a key that is there twice, unknown or of another kind is refused by name`(
        line: String, message: String
    ) throws {
        let error = #expect(throws: TrainingError.self) { try Self.load(line) }
        #expect("\(error!)" == message)
    }

    @Test func `a key without a value keeps its default`() throws {
        #expect(try Self.load("threads:").job.threads == TrainingJob().threads)
    }

    @Test func `what a file leaves out has the defaults of the fields`() throws {
        let folder = try RunTests.Folder()
        let path = try RunTests.writeJob(folder.path)
        var model = try ModelConfiguration.load(directory: folder.path)
        model.positionLimit = 256
        try model.encoded().write(to: URL(filePath: folder.path + "/config.json"))
        try "model: config.json\ntokenizer: tokenizer\nsteps: 3\ntrain: [text.jsonl]\n"
            .write(toFile: path, atomically: true, encoding: .utf8)
        var job = TrainingJob()
        let read = try TrainingJob.load(path: path)
        (job.model, job.tokenizer, job.train) = (read.model, read.tokenizer, read.train)
        (job.steps, job.output) = (3, read.output)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        #expect(try encoder.encode(read) == encoder.encode(job))
        #expect(read.output.hasSuffix("/apus/training/job"))
    }

    @Test(arguments: ["model", "tokenizer", "steps"])
    func `a file without a key that it must have names the key`(key: String) throws {
        let folder = try RunTests.Folder()
        let path = try RunTests.writeJob(folder.path)
        let text = try String(contentsOfFile: path, encoding: .utf8)
            .split(separator: "\n").filter { !$0.hasPrefix(key + ":") }.joined(separator: "\n")
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        let error = #expect(throws: TrainingError.self) { try TrainingJob.load(path: path) }
        #expect("\(error!)" == "\(path): \(key) is missing")
    }

    @Test func `a resumed run keeps the metrics that version 0.1 wrote`() throws {
        let folder = try RunTests.Folder()
        let job = try RunTests.writeJob(folder.path)
        try RunTests.run(job)
        let path = folder.path + "/run/metrics.jsonl"
        let whole = try String(contentsOfFile: path, encoding: .utf8)
        var old = whole
        for (new, name) in [("mtpLoss", "mtp_loss"), ("allToAllHidden", "all_to_all_hidden")] {
            #expect(old.contains("\"\(new)\""))
            old = old.replacing("\"\(new)\"", with: "\"\(name)\"")
        }
        try old.write(toFile: path, atomically: true, encoding: .utf8)
        try RunTests.run(job, resumes: true)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == whole)
    }
}
