import Benchmarks
import Collectives
import Encoding
import Foundation
import Serving
import Tensors
import Testing
import Topology

/// Exchanges of the product's own code on simulated fabrics, many seeds with faults.
///
/// `APUS_SIMULATION_SEED` runs one seed again, `APUS_SIMULATION_COUNT` more of them.
@Suite struct SimulatedExchangeTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../topology").standardized

    static func options(_ name: String, ranks: Int) throws -> SimulationOptions {
        let path = folder.appending(path: name + ".yaml").path(percentEncoded: false)
        var options = SimulationOptions(
            file: path, map: try NodeMap(contentsOf: path), rankCount: ranks)
        options.tokenCount = 6
        options.hiddenSize = 128
        options.topK = 3
        options.expertCount = 24
        return options
    }

    /// A setting that a seed draws: mode, codec, sizes, and at most one fault that ends the run.
    static func drawn(_ seed: UInt64) throws -> SimulationOptions {
        var random = SplitMix64(seed: seed)
        func below(_ limit: UInt64) -> Int { Int(random.next() >> 1) % Int(limit) }
        let files = [
            ("four-nodes-1g-two-planes", 4), ("four-nodes-25g-roce", 8), ("two-nodes-10g", 4),
        ]
        let (name, most) = files[below(3)]
        var options = try options(name, ranks: 2 + below(UInt64(most - 1)))
        options.seed = seed
        options.mode = below(2) == 0 ? .normal : .lowLatency
        options.dispatchCodec = below(2) == 0 ? .float8e4m3(powerOfTwo: false) : .bfloat16
        options.tokenCount = 1 + below(12)
        options.topK = 1 + below(4)
        options.jitter = .microseconds(below(200))
        if below(3) == 0 {
            options.compute = .microseconds(50)
            options.stragglers = [Rank(rawValue: below(UInt64(options.rankCount))): 8]
        }
        let rank = Rank(rawValue: below(UInt64(options.rankCount)))
        let moment = Duration.microseconds(below(400))
        switch below(4) {
        case 0: options.kills = [rank: moment]
        case 1:
            options.pauses = [
                rank: .init(begin: moment, length: .microseconds(1 + below(1_000_000)))
            ]
        default: break
        }
        return options
    }

    private static var seeds: [UInt64] {
        let environment = ProcessInfo.processInfo.environment
        if let text = environment["APUS_SIMULATION_SEED"], let seed = UInt64(text) { return [seed] }
        let count = environment["APUS_SIMULATION_COUNT"].flatMap { UInt64($0) } ?? 2000
        return Array(1 ... max(1, count))
    }

    @Test func `every seed ends with right bytes, or with the name of the rank that died`() throws {
        for seed in Self.seeds {
            let again = "seed \(seed): rerun with APUS_SIMULATION_SEED=\(seed)"
            do {
                let options = try Self.drawn(seed)
                let result = try SimulatedExchange(options).run()
                #expect(result.wrong == 0, "\(again)")
                guard let dead = options.kills.keys.first else {
                    #expect(result.losses.isEmpty, "\(again): \(result.losses)")
                    continue
                }
                // A rank that dies after its part leaves nobody waiting, and nobody names it.
                #expect(
                    result.losses.allSatisfy {
                        $0.hasPrefix("\(dead) left during") || $0.hasPrefix("\(dead) died, ")
                    },
                    "\(again): \(result.losses)")
            } catch {
                Issue.record("\(again): \(error)")
            }
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `a seed has one history`(seed: UInt64) throws {
        var options = try Self.drawn(seed)
        options.kills = [:]
        let first = try SimulatedExchange(options).run()
        let second = try SimulatedExchange(options).run()
        #expect(first.history == second.history)
        #expect(first.text == second.text)
        options.seed += 1000
        #expect(try SimulatedExchange(options).run().history != first.history)
    }

    @Test func `a seed has one trace in both details`() throws {
        func trace(_ seed: UInt64, _ detail: SimulationOptions.Detail) throws -> Data {
            var options = try Self.options("four-nodes-25g-roce", ranks: 8)
            options.seed = seed
            return switch detail {
            case .bytes: try SimulatedExchange(options).traced().trace.json()
            case .flows: try FlowExchange(options).traced().trace.json()
            }
        }
        for detail in SimulationOptions.Detail.allCases {
            let first = try trace(1, detail)
            #expect(try trace(1, detail) == first)
            #expect(try trace(2, detail) != first)
            let text = String(decoding: first, as: UTF8.self)
            #expect(text.contains("\"combine\"") && text.contains("\"rank 7\""))
        }
    }

    @Test func `sixty-four ranks move real bytes`() throws {
        var options = try Self.options("h800-2048-mpft", ranks: 64)
        options.expertCount = 64
        let result = try SimulatedExchange(options).run()
        #expect(result.wrong == 0 && result.losses.isEmpty && result.findings.isEmpty)
        #expect(result.halves.map(\.name) == ["dispatch", "combine"])
    }
}
