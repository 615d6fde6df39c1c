import Foundation
import Language
import Models
import Pipeline
import Tensors
import Testing
import Topology
import Transport

@testable import Training

/// What a job file asks for, and what is wrong with some.
@Suite(.serialized) struct JobTests {
    @Test(
        arguments: [
            ("pipelineRanks: 3", "2 layers (num_hidden_layers) do not divide into 3 stages"),
            (
                "schedule: dualpipe\npipelineRanks: 3",
                "3 ranks are odd: DualPipe pairs rank r with rank R-1-r"
            ),
            (
                "schedule: dualpipev\npipelineRanks: 2",
                "2 layers (num_hidden_layers) do not divide into 4 stages"
            ),
            (
                "schedule: dualpipe\npipelineRanks: 4",
                "4 micro-batches are too few: DualPipe over 4 ranks needs at least 8"
            ),
            ("dataRanks: 3", "8 experts (n_routed_experts) do not divide over 3 data ranks"),
            ("speed: 11", "speed is not a key of a training job: the nearest is seed"),
            ("seed: many", "seed is many: it must be a whole number"),
            ("clip: [1]", "clip is [1]: it must be one value"),
            ("clip: high", "clip is high: it must be a number"),
            ("precision: float4", "precision is float4: it must be float32, bfloat16, float8"),
            (
                "schedule: gpipe",
                "schedule is gpipe: it must be 1f1b, zb1p, zbv, dualpipe, dualpipev"
            ),
            ("threads: 0", "threads is 0: it must be at least 1"),
            ("firstSequences: 3", "firstSequences is 3: it must be 1 to 2 (sequences)"),
            ("rampSteps: -1", "rampSteps is -1: it must lie in 0...1099511627776"),
            ("emaDecay: 1.5", "emaDecay is 1.5: it must be between 0 and 1"),
            ("transport: pigeon", "transport is pigeon: known are auto, shm, tcp, ucx, rdma"),
            (
                "teacher: {url: nowhere, model: m, prompts: [text.jsonl]}",
                "teacher.url nowhere is no http address"
            ),
            (
                "teacher: {url: \"http://h/v1\", model: m, prompts: []}",
                "teacher.prompts names no file"
            ),
            (
                "teacher: {url: \"http://h/v1\", model: m, prompts: [text.jsonl], samples: 0}",
                "teacher.samples is 0: it must be at least 1"
            ),
        ])
    func `a job says what is wrong before any work`(more: String, message: String) throws {
        let folder = try RunTests.Folder()
        let path = try RunTests.writeJob(folder.path, more)
        let error = #expect(throws: (any Error).self) { try TrainingJob.load(path: path) }
        #expect("\(error!)" == message)
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/run"))
    }

    @Test func `text, tokenizer and first weights that are missing are named before any work`()
        throws
    {
        let folder = try RunTests.Folder()
        let path = try RunTests.writeJob(folder.path, "startFrom: nothing")
        func message() -> String {
            do {
                _ = try TrainingJob.load(path: path)
                return ""
            } catch { return "\(error)" }
        }
        #expect(message() == folder.path + "/nothing: does not exist (startFrom)")
        try FileManager.default.removeItem(atPath: folder.path + "/text.jsonl")
        #expect(message() == "the text \(folder.path)/text.jsonl does not exist")
        _ = try RunTests.writeJob(folder.path)
        try FileManager.default.removeItem(atPath: folder.path + "/tokenizer/tokenizer.json")
        #expect(message().hasSuffix("tokenizer.json: there is no such file"))
        _ = try RunTests.writeJob(folder.path)
        try FileManager.default.removeItem(atPath: folder.path + "/config.json")
        #expect(message() == "model \(folder.path)/config.json: there is no such file")
    }

    @Test func `a run on a token file of another tokenizer stops before the first step`() throws {
        let folder = try RunTests.Folder()
        let path = try RunTests.writeJob(folder.path)
        let tokenizer = try Tokenizer(directory: URL(filePath: folder.path + "/tokenizer"))
        try FileManager.default.createDirectory(
            atPath: folder.path + "/run", withIntermediateDirectories: true)
        try TokenFile.write(
            sources: [folder.path + "/text.jsonl"], field: "text", tokenizer: tokenizer,
            fingerprint: 1, to: folder.path + "/run/train.tokens")
        let error = #expect(throws: TrainingError.self) { try RunTests.run(path) }
        #expect("\(error!)".contains("train.tokens: was made with another tokenizer"))
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/run/metrics.jsonl"))
    }

    @Test func `a batch that grows reads every sequence once`() throws {
        let folder = try RunTests.Folder()
        let job = try TrainingJob.load(
            path: RunTests.writeJob(
                folder.path, "dataRanks: 2\nfirstSequences: 1\nrampSteps: 6"))
        let options = try job.options()
        #expect((0 ..< 8).map { options.ramp.sequences(step: $0) } == [1, 1, 1, 1, 1, 1, 2, 2])
        let wide = BatchRamp(first: 2, last: 10, steps: 4)
        #expect((0 ..< 6).map { wide.sequences(step: $0) } == [2, 4, 6, 8, 10, 10])
        #expect((0 ..< 7).map { wide.sequences(before: $0) } == [0, 2, 6, 12, 20, 30, 40])
        let text = try JobText(job, makes: true)
        var next = 0
        for step in 0 ..< 8 {
            for rank in 0 ..< 2 {
                for batch in text.batch(step: step, dataRank: rank, options: options) {
                    let length = options.sequenceLength
                    for start in stride(from: 0, to: batch.tokens.count, by: length) {
                        let expected = text.train.sequence(next).tokens
                        #expect(Array(batch.tokens[start ..< start + length]) == expected)
                        next += 1
                    }
                }
            }
        }
        #expect(options.tokens(step: 0) == 2 * 4 * 1 * 16)
        #expect(options.tokens(step: 6) == options.tokensPerStep)
    }

    @Test func `a run whose batch grows resumes to the same losses`() throws {
        let folder = try RunTests.Folder()
        let job = try RunTests.writeJob(folder.path, "firstSequences: 1\nrampSteps: 6")
        try RunTests.run(job)
        let whole = try RunTests.losses(folder.path)
        try FileManager.default.removeItem(
            atPath: folder.path + "/run/checkpoints/step-00000008")
        try RunTests.run(job, resumes: true)
        #expect(try RunTests.losses(folder.path) == whole)
    }

    @Test func `averages follow the weights, over ranks, a resume and an export`() throws {
        let decay: Float = 0.75
        var options = tinyOptions(
            ParallelShape(schedule: .dualPipe, pipelineRanks: 2, microBatches: 4), layers: 2)
        options.averageDecay = decay
        let chosen = options
        let folder = try RunTests.Folder()
        let path = folder.path
        try chosen.shape.runInThreads { place in
            let trainer = try RankTrainer(chosen, fabric: place.fabric)
            var expected: [String: [Double]] = [:]
            for item in trainer.sync.owned {
                expected[item.parameter.name] = item.parameter.value.values.map { Double($0) }
            }
            for step in 0 ..< 3 {
                _ = try trainer.run((0 ..< 4).map { tinyBatch(chosen, step: step, index: $0) })
                for item in trainer.sync.owned {
                    let values = item.parameter.value.values
                    expected[item.parameter.name] = zip(
                        expected[item.parameter.name] ?? [], values
                    ).map { Double(decay) * $0 + Double(1 - decay) * Double($1) }
                }
            }
            try trainer.save(in: path, keeping: 1)
            let resumed = try RankTrainer(chosen, fabric: place.fabric)
            try resumed.resume(from: path + "/step-00000003")
            for sync in [trainer.sync, resumed.sync] {
                for item in sync.owned {
                    guard let average = item.average else { continue }
                    let part = (expected[item.parameter.name] ?? [])[item.range].map { Float($0) }
                    #expect(relativeError(average.values, part) < 1e-6, "\(item.parameter.name)")
                }
            }
        }
        let stored = try CheckpointReader(directory: path + "/step-00000003")
        try Export.write(
            checkpoint: path + "/step-00000003", to: path + "/averaged", format: .bfloat16,
            tokenizer: nil, averaged: true)
        let exported = try CheckpointReader(directory: path + "/averaged")
        let size = (chosen.model.vocabularySize, chosen.model.hiddenSize)
        let (head, average) = (
            Tensor(rows: size.0, columns: size.1), Tensor(rows: 1, columns: size.0 * size.1)
        )
        try exported.read("lm_head.weight", into: head)
        try stored.readAverage(of: "lm_head.weight", into: average)
        #expect(relativeError(head.values, average.values) < 0.004)
    }

    @Test func `fine-tuning begins where the checkpoint ended`() throws {
        let folder = try RunTests.Folder()
        let path = try RunTests.writeJob(folder.path, steps: 40)
        try RunTests.run(path)
        func loss(_ lines: [String], _ index: Int) -> Double {
            Double(lines[index].split(separator: ":").last ?? "") ?? .nan
        }
        let first = try RunTests.losses(folder.path)
        let (run, kept) = (folder.path + "/run", folder.path + "/first")
        try FileManager.default.moveItem(atPath: run, toPath: kept)
        let end = try #require(TrainingCheckpoint.newest(in: kept + "/checkpoints"))
        try Export.write(
            checkpoint: end, to: folder.path + "/model", format: .bfloat16,
            tokenizer: folder.path + "/tokenizer")
        for start in [end, folder.path + "/model"] {
            try? FileManager.default.removeItem(atPath: run)
            _ = try RunTests.writeJob(folder.path, "startFrom: \(start)")
            try RunTests.run(path)
            let second = try RunTests.losses(folder.path)
            #expect(second.count == 8)
            // The same batch as the very first one, but weights that have learned.
            #expect(loss(second, 0) < 0.8 * loss(first, 0))
        }
    }

    @Test func `a teacher is asked only for what is not recorded, and its text is learned`() throws
    {
        let folder = try RunTests.Folder()
        let path = try RunTests.writeJob(
            folder.path,
            """
            teacher: {url: "http://127.0.0.1:1/v1", model: m, prompts: [p.txt], samples: 2}
            """)
        try "the swift\na bird\n".write(
            toFile: folder.path + "/p.txt", atomically: true, encoding: .utf8)
        let job = try TrainingJob.load(path: path)
        let teacher = try #require(job.teacher)
        func recording() throws -> TeacherRecording {
            try TeacherRecording(teacher, field: "text", path: job.recording)
        }
        let first = try recording()
        #expect(first.open.map(\.prompt) == ["the swift", "the swift", "a bird", "a bird"])
        try first.add(" flies", to: first.open[0])
        // The run ends in the middle of a line.
        let handle = try #require(FileHandle(forWritingAtPath: job.recording))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data("{\"text\": \"the sw".utf8))
        try handle.close()
        let second = try recording()
        #expect(second.open.map(\.sample) == [1, 0, 1])
        for question in second.open { try second.add(" sings", to: question) }
        #expect(try recording().open.isEmpty)
        #expect(job.sources.last == job.recording)
        let texts = try TokenFile.documents(of: job.recording, field: "text")
        #expect(texts == ["the swift flies", "the swift sings", "a bird sings", "a bird sings"])
        try RunTests.run(path)
        #expect(try RunTests.losses(folder.path).count == 8)
    }
}
