import Benchmarks
import Encoding
import Tensors
import TestSupport
import Topology
import Transport

@testable import Collectives

/// A dispatch, experts that scale and shift, and a combine, over any number of ranks; and the same
/// by brute force.
struct RoundTrip: Sendable {
    var configuration: ExpertParallelConfiguration
    var map: ExpertMap
    /// The layer whose experts the tokens meet.
    var layer = 0
    /// Tokens of each rank.
    var tokenCounts: [Int]
    var nodes: [Int]?
    var seed: UInt64 = 7
    var weighting = Weighting.gate
    /// One choice in this many is -1; 0 for none.
    var skipEvery = 0

    var rankCount: Int { map.rankCount }
    var topK: Int { configuration.topK }
    var hidden: Int { configuration.hiddenSize }

    /// The routing of all ranks' tokens, one after the other.
    func globalRouting() throws -> Routing {
        let generator = try RoutingGenerator(
            pattern: .uniform, expertCount: map.expertCount, topK: topK)
        let total = tokenCounts.reduce(0, +)
        var routing = try generator.routing(tokenCount: total, seed: seed)
        if skipEvery > 0 {
            for index in stride(from: 0, to: total * topK, by: skipEvery) {
                routing.expertIDs[index] = -1
            }
        }
        return routing
    }

    func globalTokens() -> Tensor {
        let total = tokenCounts.reduce(0, +)
        var random = SplitMix64(seed: seed &+ 1)
        return Tensor(
            rows: total, columns: hidden,
            values: (0 ..< total * hidden).map { _ in Float(random.uniform() * 4 - 2) })
    }

    /// What one rank has of a routing of all.
    func share(_ routing: Routing, of rank: Int) throws -> Routing {
        let first = tokenCounts[..<rank].reduce(0, +)
        let range = first * topK ..< (first + tokenCounts[rank]) * topK
        return try Routing(
            tokenCount: tokenCounts[rank], topK: topK,
            expertIDs: Array(routing.expertIDs[range]), weights: Array(routing.weights[range]))
    }

    static func expert(_ id: Int, _ value: Float) -> Float {
        value * (0.5 + Float(id % 5)) + Float(id) * 0.125
    }

    /// What one rank brings to the exchanges, and where its sums go.
    struct Part {
        let rank: Int
        let group: ExpertParallelGroup
        let tokens: Tensor
        let routing: Routing
        /// `[tokens, hidden]`, zeros at first.
        let result: Tensor
    }

    /// Runs a body once per rank over threads, and returns what they returned, in rank order.
    func onEveryRank<Value: Sendable>(
        _ body: @escaping @Sendable (Part) throws -> Value
    ) throws -> [Value] {
        let routing = try globalRouting()
        let tokens = globalTokens()
        return try onRanks(rankCount, nodes: nodes) { fabric in
            let rank = fabric.rank.rawValue
            let group = try ExpertParallelGroup(
                fabric: fabric, configuration: configuration, map: map)
            let first = tokenCounts[..<rank].reduce(0, +)
            return try body(
                Part(
                    rank: rank, group: group,
                    tokens: tokens.view(rows: first ..< first + tokenCounts[rank]),
                    routing: share(routing, of: rank),
                    result: Tensor(rows: tokenCounts[rank], columns: hidden)))
        }
    }

    /// Runs over threads and returns every rank's combined rows, in rank order.
    func run(rounds: Int = 1) throws -> [[Float]] {
        try onEveryRank { part in
            for _ in 0 ..< rounds {
                part.result.fill(0)
                try exchange(part)
            }
            return part.result.values
        }
    }

    /// One dispatch, the experts, and one combine that adds into `part.result`.
    func exchange(_ part: Part) throws {
        let group = part.group
        let received = try group.dispatch(
            part.tokens, routing: part.routing, in: map, layer: layer
        ).wait()
        let rows = Tensor(rows: received.rowCount, columns: hidden)
        received.gather(into: rows)
        let experts = map.experts(on: group.fabric.rank, layer: layer)
        for (local, expert) in experts.enumerated() {
            for row in received.expertOffsets[local] ..< received.expertOffsets[local + 1] {
                for column in 0 ..< hidden {
                    rows[row, column] = Self.expert(expert.rawValue, rows[row, column])
                }
            }
        }
        try group.combine(rows, for: received, weighting: weighting).wait(addingInto: part.result)
    }

    /// The same without ranks: one row per token and expert, added in top-k order.
    func oracle() throws -> [Float] {
        let routing = try globalRouting()
        let tokens = globalTokens()
        let result = Tensor(rows: tokens.rows, columns: hidden)
        let scratch = Tensor(rows: 1, columns: hidden)
        for token in 0 ..< tokens.rows {
            for choice in token * topK ..< (token + 1) * topK {
                let expert = Int(routing.expertIDs[choice])
                if expert < 0 { continue }
                Self.roundTrip(tokens.row(token), configuration.dispatchCodec, into: scratch)
                for column in 0 ..< hidden {
                    scratch[0, column] = Self.expert(expert, scratch[0, column])
                }
                Self.roundTrip(scratch.row(0), configuration.combineCodec, into: scratch)
                var row = result.mutableRow(token)
                RowCodec.float32.accumulate(
                    scratch.bytes, weight: weighting == .gate ? routing.weights[choice] : 1,
                    into: &row)
            }
        }
        return result.values
    }

    static func roundTrip(_ row: Span<Float>, _ codec: RowCodec, into target: Tensor) {
        let bytes = Tensor(rows: 1, columns: row.count + 64)
        var encoded = bytes.mutableBytes
        codec.encode(row, into: &encoded)
        var decoded = target.mutableRow(0)
        codec.decode(bytes.bytes, into: &decoded)
    }
}
