import Foundation
import Models
import Testing

@testable import Training

/// Folders and files that another run has, or that lost something.
extension RunTests {
    @Test func `a second run on an output is refused while the first is under way`() throws {
        let folder = try Folder()
        let job = try Self.writeJob(folder.path)
        let lock = try OutputFolder.take(folder.path + "/run")
        let error = #expect(throws: TrainingError.self) { try Self.run(job) }
        #expect("\(error!)".contains("is another run's that is under way"))
        withExtendedLifetime(lock) {}
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/run/metrics.jsonl"))
    }

    @Test func `the output is free again after a run`() throws {
        let folder = try Folder()
        try Self.run(Self.writeJob(folder.path))
        _ = try OutputFolder.take(folder.path + "/run")
    }

    @Test func `an export says what is missing`() throws {
        let folder = try Folder()
        try Self.run(Self.writeJob(folder.path, "schedule: zb1p\npipelineRanks: 2"))
        let checkpoint = folder.path + "/run/checkpoints/step-00000008"
        func export(to target: String, tokenizer: String? = nil) throws {
            try Export.write(
                checkpoint: checkpoint, to: target, format: .bfloat16, tokenizer: tokenizer)
        }
        for (target, tokenizer, fact) in [
            (folder.path + "/model", folder.path, "has no tokenizer.json"),
            (checkpoint, nil, "is a run's checkpoint"),
        ] {
            let error = #expect(throws: TrainingError.self) {
                try export(to: target, tokenizer: tokenizer)
            }
            #expect("\(error!)".contains(fact))
        }
        try export(to: folder.path + "/model")
        try FileManager.default.removeItem(atPath: checkpoint + "/rank-1.safetensors")
        let error = #expect(throws: TrainingError.self) { try export(to: folder.path + "/other") }
        #expect("\(error!)".contains("rank-1.safetensors of 2 ranks is missing"))
        let state = checkpoint + "/state.json"
        try Data("{".utf8).write(to: URL(filePath: state))
        let damaged = #expect(throws: TrainingError.self) {
            try export(to: folder.path + "/other")
        }
        #expect("\(damaged!)".hasPrefix(state + ": "))
    }

    @Test func `equal runs write equal checkpoints`() throws {
        func state() throws -> [String: Data] {
            let folder = try Folder()
            try Self.run(Self.writeJob(folder.path))
            let checkpoint = folder.path + "/run/checkpoints/step-00000008/"
            let names = try FileManager.default.contentsOfDirectory(atPath: checkpoint)
            return Dictionary(
                uniqueKeysWithValues: names.map { name in
                    (name, FileManager.default.contents(atPath: checkpoint + name) ?? Data())
                })
        }
        #expect(try state() == state())
    }

    @Test func `a checkpoint of more layers, or of another network, is refused`() throws {
        let folder = try Folder()
        var job = try Self.writeJob(folder.path)
        try Self.run(job)
        let checkpoint = folder.path + "/run/checkpoints/step-00000008"
        let file = URL(filePath: folder.path + "/config.json")
        var model = try ModelConfiguration.load(directory: folder.path)
        model.activeExpertCount = 1
        try model.encoded().write(to: file)
        var error = #expect(throws: TrainingError.self) { try Self.run(job, resumes: true) }
        #expect("\(error!)".contains("is another model than the job's"))
        try FileManager.default.moveItem(
            atPath: folder.path + "/run", toPath: folder.path + "/first")
        job = try Self.writeJob(
            folder.path, "startFrom: first/checkpoints/" + checkpoint.suffix(13))
        model.mtpLayerCount = 0
        try model.encoded().write(to: file)
        error = #expect(throws: TrainingError.self) { try Self.run(job) }
        #expect("\(error!)".contains("has 2 layers and 1 MTP, the job's model 2 layers and 0 MTP"))
    }

    @Test func `more MTP modules than one are refused`() throws {
        let folder = try Folder()
        let path = try Self.writeJob(folder.path)
        var model = try ModelConfiguration.load(directory: folder.path)
        model.mtpLayerCount = 2
        try model.encoded().write(to: URL(filePath: folder.path + "/config.json"))
        let error = #expect(throws: TrainingError.self) { try TrainingJob.load(path: path) }
        #expect("\(error!)".contains("has 2 MTP modules (num_nextn_predict_layers)"))
    }

    @Test(arguments: [(40, "documents do not follow"), (368, "is damaged: token")])
    func `a damaged token file is refused`(offset: Int, fact: String) throws {
        let folder = try Folder()
        let job = try TrainingJob.load(path: Self.writeJob(folder.path))
        _ = try JobText(job, makes: true)
        let file = try FileHandle(
            forUpdating: URL(filePath: folder.path + "/run/train.tokens"))
        try file.seek(toOffset: UInt64(offset))
        try file.write(contentsOf: Data(repeating: 0x7f, count: 8))
        try file.close()
        let error = #expect(throws: TrainingError.self) { try JobText(job, makes: true) }
        #expect("\(error!)".contains(fact))
    }

    @Test func `a text that was replaced by an older one is read anew`() throws {
        let folder = try Folder()
        let job = try TrainingJob.load(path: Self.writeJob(folder.path))
        let before = try JobText(job, makes: true).train.sequence(0)
        let text = folder.path + "/text.jsonl"
        try String(contentsOfFile: text, encoding: .utf8).replacing("swift", with: "crane")
            .write(toFile: text, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: 1)], ofItemAtPath: text)
        let after = try JobText(job, makes: true).train.sequence(0)
        #expect(before.tokens != after.tokens)
    }
}
