import Foundation
import Models
import Pipeline
import Synchronization
import Tensors
import Testing
import Topology
import Transport

@testable import Training

/// What goes wrong in a run is said once, with its place; what was saved stays.
@Suite(.serialized) struct FailureTests {

    /// Runs a step on every rank after `prepare`; the error that ended it, if one did.
    private func step(
        _ shape: ParallelShape, skips: Bool = false,
        _ prepare: @escaping @Sendable (RankTrainer) -> Void
    ) throws -> [StepReport] {
        var options = tinyOptions(shape)
        options.skipsBadSteps = skips
        let chosen = options
        let reports = Mutex<[StepReport]>([])
        try shape.runInThreads { place in
            let trainer = try RankTrainer(chosen, fabric: place.fabric, experts: place.experts)
            prepare(trainer)
            let first = shape.dataRank(of: place.fabric.rank) * shape.microBatches
            var batch = (0 ..< shape.microBatches).map {
                tinyBatch(chosen, step: 0, index: first + $0)
            }
            // Token 0 is in micro-batch 1 alone.
            for index in batch.indices {
                batch[index].tokens = batch[index].tokens.map { max($0, 1) }
                if index == 1 { batch[index].tokens[3] = 0 }
            }
            let before = trainer.parameters.map(\.value.values)
            let report = try trainer.run(batch)
            if report.wasSkipped {
                let after = trainer.parameters.map(\.value.values)
                for (a, b) in zip(before, after) {
                    #expect(a.elementsEqual(b) { $0.bitPattern == $1.bitPattern })
                }
                for layer in trainer.routedLayers {
                    #expect(layer.gate.bias?.values.allSatisfy { $0 == 0 } == true)
                }
            }
            reports.withLock { $0.append(report) }
        }
        return reports.withLock { $0 }
    }

    static let shapes = [
        ParallelShape(microBatches: 4),
        ParallelShape(schedule: .dualPipe, pipelineRanks: 2, microBatches: 4),
        ParallelShape(dataRanks: 2, sharesExperts: true, microBatches: 2),
    ]

    @Test(arguments: shapes)
    func `a loss that is not a number names its layer, rank and micro-batch`(
        shape: ParallelShape
    ) throws {
        let error = #expect(throws: TrainingError.self) {
            try step(shape) { trainer in
                for parameter in trainer.parameters
                where parameter.name == "model.layers.5.self_attn.o_proj.weight" {
                    parameter.value[0, 0] = .nan
                }
            }
        }
        guard case .lossNotFinite(_, let layer, let microBatch, let step) = error else {
            Issue.record("\(error!)")
            return
        }
        #expect(layer == 5 && microBatch == 0 && step == 1, "\(error!)")
    }

    @Test func `only the micro-batch with the bad token is named`() throws {
        let error = #expect(throws: TrainingError.self) {
            try step(ParallelShape(microBatches: 4)) { trainer in
                for parameter in trainer.parameters
                where parameter.name == "model.embed_tokens.weight" {
                    parameter.value[0, 0] = .infinity
                }
            }
        }
        #expect(
            "\(error!)" == """
                the loss of micro-batch 1 is not finite in step 1: the first output that was not \
                is that of layer 0 on rank 0; skipBadSteps leaves such a step out
                """)
    }

    @Test(arguments: shapes)
    func `a bad step is left out where the job says so`(shape: ParallelShape) throws {
        let reports = try step(shape, skips: true) { trainer in
            for parameter in trainer.parameters
            where parameter.name == "model.layers.5.self_attn.o_proj.weight" {
                parameter.value[0, 0] = .nan
            }
        }
        #expect(reports.count == shape.rankCount)
        #expect(reports.allSatisfy { $0.trouble?.contains("layer 5") == true })
        #expect(reports.allSatisfy { $0.trouble?.contains("skipBadSteps") == false })
    }

    @Test(.enabled(if: geteuid() == 0, "mounting a small file system needs root"))
    func `the old checkpoint survives a full disk`() throws {
        let folder = try RunTests.Folder()
        let job = try RunTests.writeJob(folder.path)
        try RunTests.run(job)
        let whole = try RunTests.losses(folder.path)
        let checkpoints = folder.path + "/run/checkpoints"
        let old = folder.path + "/old"
        try FileManager.default.moveItem(atPath: checkpoints, toPath: old)
        try FileManager.default.createDirectory(
            atPath: checkpoints, withIntermediateDirectories: false)
        try #require(command(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", checkpoints]))
        defer { _ = command(["umount", checkpoints]) }
        try FileManager.default.copyItem(
            atPath: old + "/step-00000004", toPath: checkpoints + "/step-00000004")
        let filler = checkpoints + "/filler"
        // Ends in an error, by design: it fills what is left.
        _ = command(["dd", "if=/dev/zero", "of=" + filler, "bs=64k", "status=none"])

        let error = #expect(throws: TrainingError.self) { try RunTests.run(job, resumes: true) }
        #expect("\(error!)".contains("step-00000008.partial: rank 0"), "\(error!)")
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: checkpoints).sorted()
                == ["filler", "step-00000004"])

        try FileManager.default.removeItem(atPath: filler)
        try RunTests.run(job, resumes: true)
        #expect(try RunTests.losses(folder.path) == whole)
    }

    private func command(_ words: [String]) -> Bool {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = words
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }

    @Test func `a checkpoint of another shape is refused`() throws {
        let folder = try RunTests.Folder()
        let job = try RunTests.writeJob(folder.path)
        try RunTests.run(job)
        var model = ModelConfiguration.tiny
        model.layerCount = 2
        model.vocabularySize = 258
        model.expertIntermediateSize = 20
        try model.encoded().write(to: URL(filePath: folder.path + "/config.json"))
        let error = #expect(throws: TrainingError.self) { try RunTests.run(job, resumes: true) }
        #expect("\(error!)".contains("is [24, 12]: the model needs [24, 20]"), "\(error!)")
    }

    @Test func `a run starts from an exported model`() throws {
        let folder = try RunTests.Folder()
        try RunTests.run(RunTests.writeJob(folder.path))
        let learned = try #require(try losses(folder.path).last)
        try Export.write(
            checkpoint: folder.path + "/run/checkpoints/step-00000008",
            to: folder.path + "/export", format: .bfloat16,
            tokenizer: folder.path + "/tokenizer")
        let fresh = try #require(try losses(folder.path).first)
        try FileManager.default.removeItem(atPath: folder.path + "/run")
        let job = try RunTests.writeJob(folder.path, "startFrom: export")
        try String(contentsOfFile: job, encoding: .utf8)
            .replacing("learningRate: 0.003", with: "learningRate: 0.0001")
            .write(toFile: job, atomically: true, encoding: .utf8)
        try RunTests.run(job)
        let first = try #require(try losses(folder.path).first)
        // Where the last run ended, give or take another batch; far from where it began.
        #expect(abs(first - learned) < (fresh - learned) / 4, "\(fresh), \(learned), \(first)")
    }

    private func losses(_ folder: String) throws -> [Double] {
        try RunTests.losses(folder).map { Double($0.split(separator: ":").last ?? "") ?? .nan }
    }

    @Test func `a rank that stalls is named within the limit`() throws {
        let shape = ParallelShape(schedule: .dualPipe, pipelineRanks: 2, microBatches: 4)
        var options = tinyOptions(shape)
        options.waitLimit = .seconds(1)
        let chosen = options
        let gaveUp = DispatchSemaphore(value: 0)
        let error = #expect(throws: (any Error).self) {
            try shape.runInThreads { place in
                let trainer = try RankTrainer(chosen, fabric: place.fabric, experts: nil)
                if place.fabric.rank == 1 {
                    // Holds its place without working until the other has given up.
                    _ = gaveUp.wait(timeout: .now() + 60)
                    return
                }
                defer { gaveUp.signal() }
                let batch = (0 ..< shape.microBatches).map {
                    tinyBatch(chosen, step: 0, index: $0)
                }
                _ = try trainer.run(batch)
            }
        }
        #expect("\(error!)".contains("rank 1"), "\(error!)")
    }
}
