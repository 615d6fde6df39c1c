import Foundation
import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Benchmarks
@testable import Collectives

@Suite struct AllToAllBenchmarkTests {
    static func options(
        _ mode: ExpertParallelConfiguration.Mode, path: AllToAllPath = .library
    ) -> AllToAllOptions {
        var options = AllToAllOptions(path: path)
        options.mode = mode
        options.tokenCount = 24
        options.hiddenSize = 256
        options.topK = 4
        options.expertCount = 16
        options.warmUpCount = 1
        options.iterationCount = 3
        return options
    }

    static func run(_ options: AllToAllOptions, ranks: Int, nodes: [Int]?) throws -> AllToAllResult
    {
        let all = try onRanks(ranks, nodes: nodes) { fabric in
            try AllToAllBenchmark(fabric: fabric, options: options).run { _, _ in }
        }
        return AllToAllResult(all[0], options: options)
    }

    @Test(arguments: [nil, [0, 0, 1], [0, 1, 2]] as [[Int]?])
    func `no byte of an exchange differs from brute force`(nodes: [Int]?) throws {
        for mode in ExpertParallelConfiguration.Mode.allCases {
            for codec: RowCodec in [.float32, .bfloat16, .float8e4m3(powerOfTwo: false)] {
                var options = Self.options(mode)
                options.dispatchCodec = codec
                options.storageCodec = codec == .bfloat16 ? .float32 : nil
                let result = try Self.run(options, ranks: 3, nodes: nodes)
                #expect(result.wrong == 0)
                #expect(result.dispatch.p50Microseconds > 0 && result.combine.p50Microseconds > 0)
                #expect(result.dispatch.efficiency > 0)
            }
        }
    }

    @Test(arguments: [nil, [0, 0, 1], [0, 1, 2]] as [[Int]?])
    func `no byte of a serving step's exchange differs from brute force`(nodes: [Int]?) throws {
        for mode in ExpertParallelConfiguration.Mode.allCases {
            for codec: RowCodec in [.float32, .bfloat16] {
                var options = Self.options(mode, path: .serving)
                options.dispatchCodec = codec
                options.combineCodec = codec
                let result = try Self.run(options, ranks: 3, nodes: nodes)
                #expect(result.wrong == 0)
                #expect(!result.options.configuration.addsBeforeReturn)
            }
        }
    }

    @Test(arguments: ExpertParallelConfiguration.Mode.allCases)
    func `rows that return in many pieces are added as they come`(
        mode: ExpertParallelConfiguration.Mode
    ) throws {
        var options = Self.options(mode)
        // 16 rows are a post, and sums of 5 MB are written past the cache.
        options.hiddenSize = 4096
        options.tokenCount = 640
        options.iterationCount = 2
        let result = try Self.run(options, ranks: 4, nodes: [0, 0, 1, 1])
        #expect(result.wrong == 0)
    }

    @Test func `blobs that are longer than one gathering takes reach every rank`() throws {
        @Sendable func blob(_ rank: Int) -> [UInt8] {
            let count = [0, 3, 524_288, 1_500_001][rank]
            return (0 ..< count).map { UInt8(truncatingIfNeeded: $0 * 31 >> 3 + rank) }
        }
        let gathered = try onRanks(4, nodes: nil) { fabric in
            try fabric.allGatherInParts(
                blob(fabric.rank.rawValue), label: "blobs",
                deadline: Deadline(.seconds(20), "blobs"))
        }
        let expected = (0 ..< 4).map(blob)
        #expect(gathered.allSatisfy { $0 == expected })
    }

    @Test func `a byte that differs is counted`() throws {
        let rows = TestRows(hidden: 256, codec: .bfloat16, seed: 3)
        let filled = EncodedRows(.float32, rows: 2, columns: 256)
        rows.fill(filled, round: 1, rank: 0)
        let tokens = Tensor(rows: 2, columns: 256)
        for row in 0 ..< 2 {
            var target = tokens.mutableRow(row)
            RowCodec.float32.decode(filled.row(row), into: &target)
        }
        let bytes = Tensor(rows: 1, columns: 128)
        func matches(_ name: Int) -> Bool {
            var encoded = bytes.mutableBytes
            RowCodec.bfloat16.encode(tokens.row(1), into: &encoded)
            return rows.matches(bytes.bytes, round: 1, rank: 0, token: name)
        }
        for column in [0, 100, 128, 255] {
            #expect(matches(1))
            #expect(!matches(0))
            let kept = tokens[1, column]
            tokens[1, column] += 0.5
            #expect(!matches(1))
            tokens[1, column] = kept
        }
    }

    @Test func `two runs of a seed give one hash, and another seed another`() throws {
        let options = Self.options(.normal)
        let first = try Self.run(options, ranks: 3, nodes: nil)
        let second = try Self.run(options, ranks: 3, nodes: nil)
        #expect(first.hash == second.hash)
        var other = options
        other.seed = 2
        #expect(try Self.run(other, ranks: 3, nodes: nil).hash != first.hash)
    }

    @Test func `a second of pressure leaves nothing wrong`() throws {
        for path in AllToAllPath.allCases {
            let options = Self.options(path == .serving ? .lowLatency : .normal, path: path)
            let all = try onRanks(3, nodes: [0, 0, 1]) { fabric in
                try AllToAllBenchmark(fabric: fabric, options: options)
                    .runUnderPressure(seconds: 1) { _ in }
            }
            let result = AllToAllResult(all[0], options: options)
            #expect(result.wrong == 0)
            #expect((result.rounds ?? 0) > 10)
        }
    }

    @Test func `the JSON holds what scripts read`() throws {
        let result = try Self.run(Self.options(.lowLatency), ranks: 2, nodes: nil)
        let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(result))
        let root = try #require(object as? [String: Any])
        #expect(root["wrong"] as? Int == 0)
        #expect(root["limit"] != nil)
        for half in ["dispatch", "combine"] {
            let values = try #require(root[half] as? [String: Any])
            for key in [
                "p50Microseconds", "p99Microseconds", "leastMicroseconds", "mostMicroseconds",
                "logicalGigabytesPerSecond", "physicalGigabytesPerSecond", "skewMicroseconds",
                "waitMicroseconds", "efficiency",
            ] { #expect(values[key] is Double, "\(half).\(key)") }
        }
    }

    @Test func `every format prints both halves`() throws {
        let result = try Self.run(Self.options(.normal), ranks: 2, nodes: nil)
        let report = Report(result, header: ["seed: 1"])
        #expect(report.text(.apus).contains("#wrong 0"))
        #expect(report.text(.nccl).contains("# Out of bounds values : 0 OK"))
        #expect(report.text(.osu).contains("combine (All-to-Allv) Latency Test"))
        let map = HeatMap(TrafficMatrix([[1, 2], [3, 4]]), seconds: 1e-9, title: "dispatch")
        #expect(map.text().contains("rank 1"))
        #expect(map.svg().hasSuffix("</svg>\n"))
    }

    @Test func `percentiles are values that occurred`() {
        #expect(Statistics.percentile([3, 1, 2], 0.5) == 2)
        #expect(Statistics.percentile([3, 1, 2], 0.99) == 3)
        #expect(Statistics.percentile([], 0.5) == 0)
    }
}
