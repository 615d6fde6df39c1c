import Checkpoints
import Foundation
import Models
import Testing
import Topology

@testable import Training

/// Values, folders and files that a run must not begin with, or must not be harmed by.
extension RunTests {
    @Test(arguments: [
        "validationLength: 0", "validationLength: -4", "validationDocuments: -1",
        "threads: 100000", "sequences: 9223372036854775807", "sequenceLength: 1",
        "microBatches: 0", "warmUpSteps: -5", "learningRate: .nan", "clip: 0",
        "startDeviation: .inf", "weightDecay: -1", "seed: -1", "schedule: foo",
        "precision: int4", "train: 5", "steps: [1]", "schedule: forward-only",
        "sequenceLength: 65", "teacher: {url: 'http://a/v1', model: m, prompts: [], samplse: 1}",
    ])
    func `a value beyond its limit is refused with its key`(line: String) throws {
        let folder = try Folder()
        let path = try Self.writeJob(folder.path)
        let key = line.split(separator: ":")[0]
        let text = try String(contentsOfFile: path, encoding: .utf8)
            .split(separator: "\n").filter { !$0.hasPrefix(key + ":") }.joined(separator: "\n")
        try (text + "\n" + line + "\n").write(toFile: path, atomically: true, encoding: .utf8)
        let error = #expect(throws: TrainingError.self) { try TrainingJob.load(path: path) }
        #expect("\(error!)".contains(key))
        #expect(error?.exitStatus == .badInput)
    }

    @Test func `a model that describes nothing, or lacks the tokenizer's tokens, is refused`()
        throws
    {
        let folder = try Folder()
        let path = try Self.writeJob(folder.path)
        let file = URL(filePath: folder.path + "/config.json")
        var model = ModelConfiguration.tiny
        model.layerCount = 2
        model.vocabularySize = 257
        try model.encoded().write(to: file)
        let error = #expect(throws: TrainingError.self) { try TrainingJob.load(path: path) }
        #expect("\(error!)".contains("has 258 tokens: the model has 257 (vocab_size)"))
        model.routedExpertCount = 0
        try model.encoded().write(to: file)
        #expect(throws: ModelError.self) { try TrainingJob.load(path: path) }
    }

    @Test func `what a killed run of more ranks left does not come into a checkpoint`() throws {
        let folder = try Folder()
        let job = try Self.writeJob(folder.path)
        let partial = folder.path + "/run/checkpoints/step-00000004.partial"
        try FileManager.default.createDirectory(
            atPath: partial, withIntermediateDirectories: true)
        try Data("stale".utf8).write(to: URL(filePath: partial + "/rank-3.safetensors"))
        try Self.run(job)
        let names = try FileManager.default.contentsOfDirectory(
            atPath: folder.path + "/run/checkpoints/step-00000004")
        #expect(names.sorted() == ["config.json", "rank-0.safetensors", "state.json"])
    }

    @Test func `fewer validation documents than data ranks are refused`() throws {
        let folder = try Folder()
        let path = try Self.writeJob(folder.path, "dataRanks: 2")
        let text = try String(contentsOfFile: path, encoding: .utf8)
            .replacing("validationDocuments: 4", with: "validationDocuments: 1")
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        let job = try TrainingJob.load(path: path)
        let error = #expect(throws: TrainingError.self) { try JobText(job, makes: true) }
        #expect("\(error!)".hasPrefix("validation has 1 documents: 2 data ranks need one each"))
    }

    @Test func `another list of texts is read anew, though its files are old`() throws {
        let folder = try Folder()
        let other = folder.path + "/other.txt"
        try String(repeating: "an old text of swifts ", count: 40)
            .write(toFile: other, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: 0)], ofItemAtPath: other)
        var job = try TrainingJob.load(path: Self.writeJob(folder.path))
        // A byte is a token; a document begins and ends with one more.
        let expected = (40 * 22 + 2 - 1) / job.sequenceLength
        #expect(try JobText(job, makes: true).train.sequencesPerEpoch != expected)
        job.train = [other]
        #expect(try JobText(job, makes: true).train.sequencesPerEpoch == expected)
        #expect(try JobText(job, makes: true).train.sequencesPerEpoch == expected)
    }

    @Test func `an output that cannot be a folder is refused with what is in its way`() throws {
        let folder = try Folder()
        let path = try Self.writeJob(folder.path)
        let text = try String(contentsOfFile: path, encoding: .utf8)
            .replacing("output: run", with: "output: text.jsonl/run")
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        let error = #expect(throws: TrainingError.self) { try Self.run(path) }
        #expect("\(error!)".hasSuffix("cannot be made: \(folder.path)/text.jsonl is no folder"))
        #expect(error?.exitStatus == .badInput)
    }

    @Test func `a run does not begin anew over an earlier one's checkpoints`() throws {
        let folder = try Folder()
        let job = try Self.writeJob(folder.path)
        try Self.run(job)
        let error = #expect(throws: TrainingError.self) { try Self.run(job) }
        #expect("\(error!)".contains("--resume goes on from it"))
        let loaded = try TrainingJob.load(path: job)
        var launch = TrainingLaunch()
        #expect(throws: TrainingError.self) { try launch.check(loaded) }
        launch.resumes = true
        try launch.check(loaded)
        try FileManager.default.removeItem(atPath: loaded.output + "/checkpoints")
        let nothing = #expect(throws: TrainingError.self) { try launch.check(loaded) }
        #expect("\(nothing!)".hasSuffix("no checkpoint to resume: begin the run without --resume"))
    }

    @Test(arguments: [("seed: 5", "is of seed 0, the job's is 5"), ("sequences: 4", "128 tokens")])
    func `a resume that would read other text is refused`(key: String, fact: String) throws {
        let folder = try Folder()
        let job = try Self.writeJob(folder.path)
        try Self.run(job)
        let name = key.split(separator: ":")[0]
        let text =
            try String(contentsOfFile: job, encoding: .utf8).split(separator: "\n")
            .filter { !$0.hasPrefix("\(name):") } + [Substring(key)]
        try text.joined(separator: "\n").write(toFile: job, atomically: true, encoding: .utf8)
        let error = #expect(throws: TrainingError.self) { try Self.run(job, resumes: true) }
        #expect("\(error!)".contains(fact), "\(error!)")
    }

    @Test func `an export beside its own tokenizer keeps the tokenizer`() throws {
        let folder = try Folder()
        try Self.run(Self.writeJob(folder.path))
        let tokenizer = folder.path + "/tokenizer"
        let before = try Data(contentsOf: URL(filePath: tokenizer + "/tokenizer.json"))
        try Export.write(
            checkpoint: folder.path + "/run/checkpoints/step-00000008", to: tokenizer,
            format: .bfloat16, tokenizer: tokenizer)
        #expect(try Data(contentsOf: URL(filePath: tokenizer + "/tokenizer.json")) == before)
    }

    @Test func `moments that claim to lie beyond any parameter are refused`() throws {
        let folder = try Folder()
        let name = "first.\(Int.max).weight"
        let file = try SafetensorsWriter(
            path: folder.path + "/rank-0.safetensors",
            tensors: [OutputTensor(name: name, type: .bfloat16, shape: [2])])
        try file.write([1, 2] as [UInt16], to: name)
        try file.finish()
        let reader = try CheckpointReader(directory: folder.path)
        #expect(throws: TrainingError.self) {
            try reader.moments("first", of: "weight", count: 2)
        }
    }

    @Test func `a folder that is no checkpoint is refused with its name`() throws {
        let folder = try Folder()
        #expect(throws: TrainingError.self) {
            try TrainingCheckpoint.state(in: folder.path)
        }
        #expect(throws: TrainingError.self) {
            try CheckpointReader(directory: folder.path + "/none")
        }
    }
}
