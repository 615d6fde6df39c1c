import Foundation
import Language
import Models
import Pipeline
import Tensors
import Testing
import Topology
import Transport

@testable import Training

/// Data, checkpoints and whole jobs on tiny text.
@Suite(.serialized) struct RunTests {
    /// A folder that goes away with the test.
    struct Folder: ~Copyable {
        let path: String

        init() throws {
            let name = "apus-training-\(UInt64.random(in: 0 ... .max))"
            path = FileManager.default.temporaryDirectory.appending(path: name).path(
                percentEncoded: false)
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    /// 256 byte tokens and two specials: a tokenizer small enough to write down.
    static func writeTokenizer(_ path: String) throws {
        var vocabulary: [String: Int] = [:]
        for byte in 0 ..< 256 {
            let isPlain = (33 ... 126).contains(byte) || (161 ... 172).contains(byte) || byte > 173
            let hidden = (0 ..< byte).count {
                !((33 ... 126).contains($0) || (161 ... 172).contains($0) || $0 > 173)
            }
            let scalar = UnicodeScalar(UInt32(isPlain ? byte : 256 + hidden))!
            vocabulary[String(Character(scalar))] = byte + 2
        }
        let added = [(0, "<b>"), (1, "<e>")].map { id, text in
            [
                "id": id, "content": text, "special": true, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false,
            ] as [String: Any]
        }
        let file: [String: Any] = [
            "version": "1.0", "added_tokens": added,
            "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false, "use_regex": false],
            "decoder": ["type": "ByteLevel"],
            "model": ["type": "BPE", "vocab": vocabulary, "merges": [String]()],
        ]
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try JSONSerialization.data(withJSONObject: file)
            .write(to: URL(filePath: path + "/tokenizer.json"))
        let settings = ["bos_token": "<b>", "eos_token": "<e>"]
        try JSONSerialization.data(withJSONObject: settings)
            .write(to: URL(filePath: path + "/tokenizer_config.json"))
    }

    /// A job of few steps on text that repeats itself.
    static func writeJob(
        _ folder: String, _ more: String = "", steps: Int = 8
    ) throws -> String {
        try Self.writeTokenizer(folder + "/tokenizer")
        let lines = (0 ..< 40).map { "{\"text\": \"the swift number \($0 % 7) flies home\"}" }
        try lines.joined(separator: "\n")
            .write(toFile: folder + "/text.jsonl", atomically: true, encoding: .utf8)
        var model = ModelConfiguration.tiny
        model.layerCount = 2
        model.vocabularySize = 258
        try model.encoded().write(to: URL(filePath: folder + "/config.json"))
        let job = """
            model: config.json
            tokenizer: tokenizer
            train: [text.jsonl]
            validation: [text.jsonl]
            validationDocuments: 4
            validationLength: 32
            output: run
            steps: \(steps)
            sequenceLength: 16
            sequences: 2
            microBatches: 4
            learningRate: 0.003
            warmUpSteps: 2
            startDeviation: 0.1
            checkpointEvery: 4
            validateEvery: 4
            \(more)
            """
        try job.write(toFile: folder + "/job.yaml", atomically: true, encoding: .utf8)
        return folder + "/job.yaml"
    }

    static func run(_ path: String, resumes: Bool = false) throws {
        let job = try TrainingJob.load(path: path)
        try job.options().shape.runInThreads { place in
            try TrainingRun(job, resumes: resumes, observer: TrainingObserver())
                .run(fabric: place.fabric, experts: place.experts)
        }
    }

    static func losses(_ folder: String) throws -> [String] {
        let text = try String(contentsOfFile: folder + "/run/metrics.jsonl", encoding: .utf8)
        return text.split(separator: "\n").map { line in
            String(line.split(separator: ",").first { $0.contains("\"loss\"") } ?? "")
        }
    }

    @Test(arguments: ["", "schedule: dualpipe\npipelineRanks: 2"])
    func `a resumed run repeats the losses of one that was not stopped`(more: String) throws {
        let folder = try Folder()
        let job = try Self.writeJob(folder.path, more)
        try Self.run(job)
        let whole = try Self.losses(folder.path)
        #expect(whole.count == 8)
        let checkpoints = folder.path + "/run/checkpoints"
        #expect(TrainingCheckpoint.newest(in: checkpoints)?.hasSuffix("step-00000008") == true)
        try FileManager.default.removeItem(atPath: checkpoints + "/step-00000008")
        try Self.run(job, resumes: true)
        #expect(try Self.losses(folder.path) == whole)
        #expect(FileManager.default.fileExists(atPath: folder.path + "/run/loss.svg"))
    }

    @Test func `two ranks take up a checkpoint of one, and the export loads`() throws {
        let folder = try Folder()
        try Self.run(Self.writeJob(folder.path))
        let whole = try Self.losses(folder.path)
        let checkpoints = folder.path + "/run/checkpoints"
        try FileManager.default.removeItem(atPath: checkpoints + "/step-00000008")
        try Self.run(
            Self.writeJob(folder.path, "schedule: dualpipe\npipelineRanks: 2"), resumes: true)
        func value(_ text: String) -> Double { Double(text.split(separator: ":").last ?? "") ?? 0 }
        for (a, b) in zip(whole, try Self.losses(folder.path)) {
            #expect(abs(value(a) - value(b)) < 1e-4 * value(b))
        }
        for format in Export.Format.allCases {
            let target = folder.path + "/\(format.rawValue)"
            try Export.write(
                checkpoint: checkpoints + "/step-00000008", to: target, format: format,
                tokenizer: folder.path + "/tokenizer")
            let model = try ModelConfiguration.load(directory: target)
            #expect((model.quantization != nil) == (format == .float8))
            let reader = try CheckpointReader(directory: target)
            let size = (model.vocabularySize, model.hiddenSize)
            let head = Tensor(rows: size.0, columns: size.1)
            try reader.read("model.layers.2.shared_head.head.weight", into: head)
            let expected = Tensor(rows: size.0, columns: size.1)
            try CheckpointReader(directory: checkpoints + "/step-00000008")
                .read("lm_head.weight", into: expected)
            #expect(relativeError(head.values, expected.values) < 0.004)
        }
    }

    @Test func `a token file of another tokenizer is refused`() throws {
        let folder = try Folder()
        try Self.writeTokenizer(folder.path + "/tokenizer")
        try "some text".write(
            toFile: folder.path + "/a.txt", atomically: true, encoding: .utf8)
        let tokenizer = try Tokenizer(directory: URL(filePath: folder.path + "/tokenizer"))
        let path = folder.path + "/a.tokens"
        try TokenFile.write(
            sources: [folder.path + "/a.txt"], field: "text", tokenizer: tokenizer, fingerprint: 1,
            to: path)
        let file = try TokenFile(path: path, fingerprint: 1)
        #expect(
            file.tokens(0 ..< file.tokenCount) == [0] + "some text".utf8.map { Int32($0) + 2 } + [1]
        )
        #expect(throws: TrainingError.self) { try TokenFile(path: path, fingerprint: 2) }
    }

    @Test func `every token of an epoch is read once, in an order of its own`() throws {
        let folder = try Folder()
        let job = try TrainingJob.load(path: Self.writeJob(folder.path))
        let text = try JobText(job, makes: true).train
        func epoch(_ number: Int) -> [Int32] {
            (0 ..< text.sequencesPerEpoch).flatMap {
                text.sequence(number * text.sequencesPerEpoch + $0).tokens
            }
        }
        let (first, second) = (epoch(0), epoch(1))
        #expect(first != second)
        #expect(epoch(0) == first)
        #expect(first.count == text.sequencesPerEpoch * 16)
        let next = text.sequence(0)
        #expect(Array(next.tokens.dropFirst()) == Array(next.targets.dropLast()))
    }

    @Test func `the rate rises, stays and falls as the report's does`() {
        let rate = LearningRate(
            peak: 1, floor: 0.1, warmUpSteps: 10, constantSteps: 10, totalSteps: 40)
        #expect(rate.rate(step: 5) == 0.5)
        #expect(rate.rate(step: 20) == 1)
        #expect(abs(rate.rate(step: 30) - 0.55) < 1e-9)
        #expect(abs(rate.rate(step: 40) - 0.1) < 1e-9)
    }

    @Test func `the bias rises where the load is low and evens it out`() throws {
        let violations = try [Float(0), 0.01].map { step -> Double in
            var options = tinyOptions(ParallelShape(microBatches: 4), layers: 2)
            options.optimizer.biasStep = step
            let chosen = options
            let trainer = try RankTrainer(
                chosen, fabric: makeLoopbackFabrics(rankCount: 1)[0])
            var last: [Double] = []
            for index in 0 ..< 60 {
                let batch = (0 ..< 4).map { tinyBatch(chosen, step: index, index: $0) }
                last.append(try trainer.run(batch).expertViolation)
            }
            return last.suffix(20).reduce(0, +) / 20
        }
        #expect(violations[1] < violations[0])
    }

    @Test func `the bias stays as it is after biasSteps`() throws {
        var options = tinyOptions(ParallelShape(), layers: 2)
        options.optimizer.biasSteps = 2
        let trainer = try RankTrainer(options, fabric: makeLoopbackFabrics(rankCount: 1)[0])
        var biases: [[Float]] = []
        for step in 0 ..< 4 {
            _ = try trainer.run([tinyBatch(options, step: step, index: 0)])
            biases.append(trainer.routedLayers.flatMap { $0.gate.bias?.values ?? [] })
        }
        #expect(biases[0] != biases[1])
        #expect(biases[1] == biases[2] && biases[2] == biases[3])
    }
}
