import Collectives
import Foundation
import Tensors
import Testing
import Topology
import Transport

@testable import Encoding
@testable import Models
@testable import Training

/// FP8 training against PyTorch's float8_e4m3fn (Tests/Golden/Training/float8.py).
@Suite struct Float8Tests {
    static let python = ProcessInfo.processInfo.environment["APUS_PYTHON"]

    @Test(
        .enabled(if: python != nil),
        arguments: [(7, 130, 70), (33, 256, 300), (128, 128, 128), (260, 72, 520)])
    func `a linear layer in FP8 equals PyTorch's`(rows: Int, inputs: Int, outputs: Int) throws {
        let folder = try RunTests.Folder()
        let seed = Int.random(in: 0 ..< 1 << 30)
        try makeReference(folder.path, [seed, rows, inputs, outputs])
        let reader = try CheckpointReader(directory: folder.path)
        func tensor(_ name: String, _ rows: Int, _ columns: Int) throws -> Tensor {
            let result = Tensor(rows: rows, columns: columns)
            try reader.read(name, into: result)
            return result
        }
        let x = try tensor("x", rows, inputs)
        let dy = try tensor("dy", rows, outputs)
        let weight = Parameter(name: "w", rows: outputs, columns: inputs)
        weight.value.copy(from: try tensor("w", outputs, inputs))
        let pool = ThreadPool(threads: 2)

        let (roundedX, roundedW) = (
            try tensor("rounded.x", rows, inputs), try tensor("rounded.w", outputs, inputs)
        )
        #expect(x.roundedToFloat8Rows(pool: pool).values == roundedX.values, "seed \(seed)")
        #expect(
            weight.value.roundedToFloat8Blocks(pool: pool).values == roundedW.values,
            "seed \(seed)")

        let context = TrainingContext(
            configuration: .tiny, sequenceLength: 1, pool: pool, precision: .float8)
        let y = context.linear(x, weight)
        let dx = Tensor(rows: rows, columns: inputs)
        context.linearBackward(x, weight, dy: dy, into: dx)
        context.gradients.run()
        for (name, found) in [("y", y), ("dx", dx), ("dw", weight.gradient)] {
            let expected = try tensor(name, found.rows, found.columns).values
            let magnitude = try tensor("magnitude." + name, found.rows, found.columns).values
            // A code times its scale is rounded to bf16 before the product: 2^-9 of each factor,
            // and as much again for the order of the sum.
            let worst =
                zip(zip(found.values, expected), magnitude).map {
                    abs($0.0 - $0.1) / max($1, .leastNormalMagnitude)
                }.max() ?? 0
            #expect(worst <= 0x1p-7, "\(name): \(worst), seed \(seed)")
        }
    }

    /// So a token that travelled as e4m3 is what a product makes of the token itself.
    @Test(arguments: [24, 128, 300]) func `rounding again changes nothing`(columns: Int) {
        let seed = UInt64.random(in: 0 ... 1 << 30)
        var random = SplitMix64(seed: seed)
        let x = Tensor(rows: 50, columns: columns)
        for row in 0 ..< x.rows {
            let size = Float.random(in: 1e-6 ... 1e3, using: &random)
            for column in 0 ..< columns {
                x[row, column] = size * Float.random(in: -1 ... 1, using: &random)
            }
        }
        let pool = ThreadPool(threads: 1)
        let once = x.roundedToFloat8Rows(pool: pool)
        let twice = once.roundedToFloat8Rows(pool: pool)
        for (a, b) in zip(once.values, twice.values) {
            #expect(abs(a - b) <= 0x1p-22 * abs(a), "\(a), \(b), seed \(seed)")
        }
    }

    @Test func `tokens reach shared experts as the products there round them`() throws {
        let shape = ParallelShape(dataRanks: 2, sharesExperts: true, microBatches: 1)
        let options = tinyOptions(shape, precision: .float8)
        let (count, hidden) = (options.sequenceLength, options.model.hiddenSize)
        @Sendable func choices(_ token: Int) -> [Int] { [token % 8, (token + 3) % 8] }
        @Sendable func tokens(of rank: Int) -> Tensor {
            var random = SplitMix64(seed: UInt64(rank))
            return Tensor(
                rows: count, columns: hidden,
                values: (0 ..< count * hidden).map { _ in .random(in: -9 ... 9, using: &random) })
        }
        try shape.runInThreads { place in
            let trainer = try RankTrainer(options, fabric: place.fabric, experts: place.experts)
            let pool = trainer.context.pool
            let sharing = try #require(trainer.routedLayers.first).sharing
            let own = tokens(of: place.fabric.rank.rawValue)
            let routing = try Routing(
                tokenCount: count, topK: 2,
                expertIDs: (0 ..< count).flatMap { choices($0).map { Int32($0) } })
            let exchange = try sharing.exchange(
                routing, layer: 0, expertCount: 8, pool: pool)
            try exchange.start(own)
            let arrived = try exchange.receive { Tensor(rows: $0, columns: hidden) }
            let rounded = (0 ..< 2).map { tokens(of: $0).roundedToFloat8Rows(pool: pool) }
            func row(_ rows: Tensor, _ index: Int) -> [Float] {
                Array(rows.values[index * hidden ..< (index + 1) * hidden])
            }
            for (place, expert) in sharing.experts(layer: 0, of: 8).enumerated() {
                let found = (arrived.offsets[place] ..< arrived.offsets[place + 1])
                    .map { row(arrived.rows, $0) }
                let expected = rounded.flatMap { rows in
                    (0 ..< count).filter { choices($0).contains(expert.rawValue) }.map {
                        row(rows, $0)
                    }
                }
                #expect(found.count == expected.count)
                #expect(Set(found) == Set(expected), "expert \(expert)")
            }
            try exchange.send(arrived.rows)
            try exchange.finish(addingInto: Tensor(rows: count, columns: hidden))
        }
    }

    private func makeReference(_ directory: String, _ numbers: [Int]) throws {
        let script = GradientTests.golden.appending(path: "float8.py").path(percentEncoded: false)
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [Self.python ?? "python3", script, directory] + numbers.map { "\($0)" }
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "float8.py \(numbers)")
    }
}
