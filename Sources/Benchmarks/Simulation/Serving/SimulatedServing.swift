import Collectives
import Encoding
import Planner
package import Serving
import Topology
import Transport

/// Texts that many ranks write in virtual time: the product's engines, step barrier and all-to-all.
package struct SimulatedServing {
    private let options: ServingSimulationOptions
    private let cluster: SimulatedCluster
    private let rates: LinkRates

    /// Checks the options.
    ///
    /// - Throws: `SimulationError`, `TopologyError` or `PlanError` with the option, its value and
    ///   its limit.
    package init(_ options: ServingSimulationOptions) throws {
        self.options = options
        try options.check()
        let exchanges = options.exchanges
        cluster = SimulatedCluster(options: exchanges, links: try exchanges.links())
        rates = try LinkRates(exchanges.map, file: exchanges.file)
    }

    /// What the texts came to, and what every rank did when.
    package struct Traced: Sendable {
        package let result: ServingSimulationResult
        package let trace: JobTrace
    }

    /// Writes all texts.
    ///
    /// - Parameter progress: Gets the tokens that are written, and all of them; any thread calls
    ///   it.
    package func traced(
        progress: @escaping @Sendable (_ done: Int, _ of: Int) -> Void = { _, _ in }
    ) throws -> Traced {
        let simulation = try cluster.fabric(settling: SimulatedComputing.settling)
        let server = SimulatedServer(
            options: options, network: simulation.network,
            start: SimulatedComputing.start(after: simulation),
            progress: SimulationProgress(
                total: cluster.options.rankCount * options.streams * options.newTokens,
                report: progress))
        let endings = try simulation.run { try server.run($0) }
        simulation.close()
        let outcome = try cluster.outcome(of: endings)
        return Traced(
            result: result(outcome, start: server.start),
            trace: JobTrace(recorders: outcome.seen.compactMap(\.value.recorder)))
    }

    private typealias Outcome = SimulatedCluster.Outcome<SimulatedServer.Ending>

    private func result(_ outcome: Outcome, start: UInt64) -> ServingSimulationResult {
        let exchanges = cluster.options
        let texts = outcome.seen.flatMap { one in
            Dictionary(grouping: one.value.progress, by: \.id).sorted { $0.key < $1.key }
                .map { Text($0.value, since: start) }
        }
        let decoding = texts.filter { $0.tokens > $0.firstTokens }
        let perToken = decoding.map(\.secondsPerToken)
        let carried = SimulatedCluster.most(of: outcome.seen.map(\.value.carried))
        let length = (texts.map(\.end).max() ?? 0)
        let links =
            carried.count == 2
            ? SimulationResult.uses(
                cluster.links, half: "run", carried: zip(carried[1], carried[0]).map { $0 - $1 },
                nanoseconds: UInt64(length * 1e9)) : []
        let planned = self.planned
        return ServingSimulationResult(
            topology: exchanges.map.name, rankCount: exchanges.rankCount, streams: options.streams,
            prompt: options.prompt, newTokens: options.newTokens, blocks: options.blocks,
            mode: exchanges.mode.rawValue, overlaps: options.overlaps, seed: exchanges.seed,
            steps: Int(outcome.seen.map(\.value.steps).max() ?? 0),
            tpotSeconds: Self.mean(perToken), longestTPOTSeconds: perToken.max() ?? 0,
            ttftSeconds: Self.mean(texts.map(\.first)), runSeconds: length,
            tokensPerSecond: Self.mean(perToken) > 0
                ? Double(options.streams * exchanges.rankCount) / Self.mean(perToken) : 0,
            plannedTPOTSeconds: planned.seconds, plannedFixedSeconds: planned.fixed,
            layers: layers(outcome),
            links: Array(links.prefix(SimulationResult.linksPerHalf)),
            findings: outcome.losses.isEmpty ? findings(outcome) : [], losses: outcome.losses,
            history: history(outcome), leftOut: leftOut)
    }

    private static func mean(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
    }

    /// When one text's tokens came, in seconds after the begin.
    private struct Text {
        let first: Double
        let end: Double
        let firstTokens: Int
        let tokens: Int

        init(_ progress: [Engine.Progress], since start: UInt64) {
            let moments = progress.map { Double($0.nanoseconds - start) / 1e9 }
            first = moments.min() ?? 0
            end = moments.max() ?? 0
            firstTokens = progress.first?.tokens ?? 0
            tokens = progress.reduce(0) { $0 + $1.tokens }
        }

        var secondsPerToken: Double { (end - first) / Double(tokens - firstTokens) }
    }

    // MARK: The plan

    /// By the planner's formulas: TPOT, and what exchanges cost there beyond their bytes.
    private var planned: (seconds: Double, fixed: Double) {
        let exchanges = cluster.options
        let nodes = Set(cluster.links.nodes.prefix(exchanges.rankCount)).count
        func travel(_ share: Double) -> PlannedTravel {
            PlannedTravel(
                exchanges, tokens: Double(options.streams) * share, nodes: nodes, rates: rates)
        }
        func rows(_ share: Double) -> Int {
            max(1, Int((Double(options.streams) * share).rounded(.up)))
        }
        let block = LayerTimes.block(
            splits: options.overlaps && options.streams > 1,
            {
                options.attentionSeconds(streams: rows($0), promptTokens: 0)
                    + options.expertSeconds(rows: rows($0))
            }, { travel($0).seconds })
        let blocks = Double(options.blocks)
        let fixed = exchanges.rankCount > 1 ? blocks * travel(1).fixedSeconds : 0
        return (blocks * block + options.headSeconds(texts: options.streams), fixed)
    }

    // MARK: What ranks noted

    private func layers(_ outcome: Outcome) -> [ServingSimulationResult.Layer] {
        let samples = outcome.seen.flatMap(\.value.samples)
        let steps = outcome.seen.reduce(0.0) { $0 + Double($1.value.steps) }
        guard !samples.isEmpty, steps > 0 else { return [] }
        let byBlock = Dictionary(grouping: samples, by: \.block)
        return byBlock.sorted { $0.key < $1.key }.map { block, samples in
            func seconds(_ half: ExchangeRecord.Kind, _ value: (HalfSample) -> UInt64) -> Double {
                samples.filter { $0.half == half }.reduce(0) { $0 + Double(value($1)) } / 1e9
                    / steps
            }
            return ServingSimulationResult.Layer(
                layer: block, dispatchSeconds: seconds(.dispatch) { $0.ended - $0.began },
                combineSeconds: seconds(.combine) { $0.ended - $0.began },
                exposedDispatchSeconds: seconds(.dispatch, \.exposed),
                exposedCombineSeconds: seconds(.combine, \.exposed))
        }
    }

    private func findings(_ outcome: Outcome) -> [String] {
        [ExchangeRecord.Kind.dispatch, .combine].flatMap { half in
            let samples = outcome.seen.map { rank, ending in
                ending.samples.filter { $0.half == half }
                    .map { $0.sample(of: rank, node: cluster.links.nodes[rank.rawValue]) }
            }
            return ExchangeDiagnosis.findings(ofRanks: samples, half: half.rawValue)
                .map { "\($0)" }
        }
    }

    private func history(_ outcome: Outcome) -> String {
        var history = FNV1a()
        for (rank, ending) in outcome.seen {
            history.add(UInt64(rank.rawValue))
            for sample in ending.samples {
                history.add(sample.began)
                history.add(sample.ended)
            }
            for one in ending.progress { history.add(one.nanoseconds) }
        }
        for loss in outcome.losses { for byte in loss.utf8 { history.add(UInt64(byte)) } }
        return String(history.value, radix: 16)
    }

    private var leftOut: [String] {
        SimulationWriter.leftOut(cluster.options) + [
            "choosing tokens, HTTP, drafts, and the blocks without experts",
            "values: rows are zeros (apus simulate all-to-all checks every byte)",
            SimulationWriter.leftOutOfTraces,
            "in a trace: what is beyond \(RankRecorder.longestSeconds) s, or "
                + "\(RankRecorder.mostEvents) events of a rank",
        ]
    }
}
