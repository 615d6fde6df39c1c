import Testing
import Topology

@testable import Benchmarks
@testable import Collectives

/// What `apus plan check` predicts, against what the product moves and against arithmetic by hand.
@Suite struct PredictionTests {
    private static func options(tokens: Int = 24, hidden: Int = 256) -> AllToAllOptions {
        var options = AllToAllOptions(path: .serving)
        (options.tokenCount, options.hiddenSize) = (tokens, hidden)
        return options
    }

    /// Times in microseconds.
    private static func exchange(_ dispatch: Double, _ combine: Double) -> MeasuredExchange {
        MeasuredExchange(dispatchMicroseconds: dispatch, combineMicroseconds: combine)
    }

    @Test func `settings span the rates, ranks, nodes, choices and routings of the target`() {
        let all = PredictionSetting.all
        #expect(Set(all).count == all.count && all.count >= 12)
        let rates = all.compactMap(\.gigabitsPerSecond)
        #expect(rates.min() == 1 && rates.max() == 4)
        #expect(Set(all.map(\.ranks)) == [2, 3, 4, 6, 8])
        #expect(Set(all.map(\.nodes)) == [1, 2, 3, 4])
        #expect(Set(all.map(\.topK)) == [2, 4, 6, 8])
        #expect(Set(all.map(\.routing)) == ["uniform", "zipf:0.7", "zipf:1.0"])
        #expect(!all.contains(.memoryAnchor) && !all.contains(.socketAnchor))
    }

    @Test(arguments: PredictionSetting.all)
    func `a setting's topology file says what the setting says`(setting: PredictionSetting) throws {
        let map = try setting.map()
        #expect(map.nodes.count == setting.nodes && map.rankCount == setting.ranks)
        #expect(Set(map.nodes.map(\.ranks)) == [setting.ranksPerNode])
        #expect(map.planes[0].bandwidthBitsPerSecond == setting.gigabitsPerSecond.map { $0 * 1e9 })
        #expect(AllToAllOptions.Pattern(setting.routing) != nil)
    }

    /// The product counts what it sends: rows exactly, bytes but for the heads of blocks.
    @Test(arguments: [PredictionSetting(2, 2, 4, topK: 4, "zipf:1.0"), PredictionSetting(3, 1, 1)])
    func `rows that cross are counted as the product sends them`(
        setting: PredictionSetting
    ) throws {
        var options = Self.options().using(setting)
        (options.warmUpCount, options.iterationCount) = (0, 1)
        let map = try setting.map()
        let nodes = (0 ..< setting.ranks).map { map.node(of: Rank(rawValue: $0)).rawValue }
        let measured = try AllToAllBenchmarkTests.run(options, ranks: setting.ranks, nodes: nodes)
        let counted = try PredictedTraffic(options, on: map, round: 0)
        #expect(measured.wrong == 0)
        #expect(counted.tokens == setting.ranks * options.tokenCount)
        #expect(counted.outputs == setting.ranks * options.tokenCount * options.topK)
        #expect(counted.crossing(.dispatch) == measured.dispatch.crossingRows)
        #expect(counted.crossing(.combine) == measured.combine.crossingRows)
        for (half, moved) in [
            (ExchangeRecord.Kind.dispatch, measured.dispatch.crossingBytes),
            (.combine, measured.combine.crossingBytes),
        ] {
            let bytes = counted.crossing(half) * options.crossingBytes(half)
            #expect(abs(bytes - moved) <= moved / 100, "\(half): \(bytes), sent \(moved)")
        }
    }

    /// Two ranks of four experts each, and tokens that choose all eight: a token crosses once, and
    /// half of its outputs do.
    private static func prediction(
        memory: MeasuredExchange, sockets: MeasuredExchange
    ) throws -> ExchangePrediction {
        var options = Self.options(tokens: 100, hidden: 1024)
        options.expertCount = 8
        return try ExchangePrediction(options, cores: 2, memory: memory, sockets: sockets)
    }

    @Test func `a wire that is slower than the cores decides`() throws {
        let free = Self.exchange(100, 1600)
        let halves = try Self.prediction(memory: free, sockets: free)
            .halves(of: PredictionSetting(2, 1, 1))
        // 100 rows of 2 x 1024 + 8 x 9 bytes, and 400 of 2048, at 1 Gbit/s less headers.
        let rate = 125e6 * 8948 / 9014
        #expect(abs(halves.dispatch.wireSeconds - 212_000 / rate) < 1e-9)
        #expect(abs(halves.combine.wireSeconds - 819_200 / rate) < 1e-9)
        #expect(halves.dispatch.bound == "NIC" && halves.combine.bound == "NIC")
        // As in the anchor, whose ranks encode as many tokens and add as many outputs.
        #expect(abs(halves.dispatch.coreSeconds - 100e-6) < 1e-12)
        #expect(abs(halves.combine.coreSeconds - 1600e-6) < 1e-12)
    }

    @Test func `cores that are slower than the wire decide, and sockets are a part of it`() throws {
        let halves = try Self.prediction(
            memory: Self.exchange(100, 8000), sockets: Self.exchange(900, 9000)
        ).halves(of: PredictionSetting(2, 2, 4))
        #expect(halves.combine.bound == "cores")
        // Twice the anchor's outputs on the same two cores, and twice its bytes.
        #expect(abs(halves.combine.coreSeconds - 18000e-6) < 1e-9)
        // 400 tokens of 1 us, and 800 rows of 8 us that cross, on two cores.
        #expect(abs(halves.dispatch.coreSeconds - 3400e-6) < 1e-9)
    }

    @Test func `median and worst error of a report are those of its rows`() throws {
        let free = Self.exchange(100, 1600)
        let prediction = try Self.prediction(memory: free, sockets: free)
        let setting = PredictionSetting(2, 1, 1)
        let halves = try prediction.halves(of: setting)
        let exact = (halves.dispatch.seconds + halves.combine.seconds) * 1e6
        // Predicted times that are 0%, 25% and 4% above what was measured.
        let rows = try [1, 0.8, 1 / 1.04].map {
            try PredictionReport.Row(setting, prediction, Self.exchange(exact * $0, 0))
        }
        let report = PredictionReport(
            Self.options(), cores: 2, loadAverage: 9.5, memory: free, sockets: free, rows: rows)
        #expect(abs(report.medianError - 0.04) < 1e-9 && abs(report.worstError - 0.25) < 1e-9)
        #expect(!report.isWithinLimits)
        #expect(report.text.contains("median error 4.0%") && report.text.contains("worst 25.0%"))
        #expect(report.text.contains(setting.title) && report.text.contains("NIC"))
        #expect(report.text.contains("its load was 9.5 before"))
        let better = PredictionReport(
            Self.options(), cores: 2, loadAverage: 0.2, memory: free, sockets: free,
            rows: [rows[0], rows[2]])
        #expect(!better.text.contains("other work"))
        #expect(better.isWithinLimits && abs(better.medianError - 0.02) < 1e-9)
    }
}
