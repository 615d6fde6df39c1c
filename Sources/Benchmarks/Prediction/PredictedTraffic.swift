import Collectives
import Tensors
import Topology

/// What the ranks of a lab move in one exchange of serving, counted from drawn routing.
///
/// A token is encoded once and goes once to every rank of another node that holds one of its
/// experts; every expert's output returns by itself, and its source adds it up.
struct PredictedTraffic: Sendable {
    /// Tokens of all ranks, and outputs that return to them.
    private(set) var tokens = 0, outputs = 0
    /// Rows that cross in a dispatch, and in a combine, by node that sends, then by node that
    /// receives.
    private(set) var out: [[Int]]
    private(set) var home: [[Int]]

    /// - Parameter round: Which draw of the seed.
    /// - Throws: `CollectivesError` for routing that cannot be drawn, or experts that cannot be
    ///   dealt.
    init(_ options: AllToAllOptions, on map: NodeMap, round: Int) throws {
        let ranks = map.rankCount
        let nodes = (0 ..< ranks).map { map.node(of: Rank(rawValue: $0)).rawValue }
        let placement = try ExpertPlacement.contiguous(
            expertCount: options.expertCount, rankCount: ranks)
        var homes = [Int](repeating: 0, count: options.expertCount)
        for rank in 0 ..< ranks {
            for expert in placement.experts(on: Rank(rawValue: rank)) {
                homes[expert.rawValue] = rank
            }
        }
        out = Array(repeating: Array(repeating: 0, count: map.nodes.count), count: map.nodes.count)
        home = out
        for source in 0 ..< ranks {
            let routing = try options.routing(
                of: Rank(rawValue: source), tokenCount: options.tokenCount, round: round)
            for token in 0 ..< routing.tokenCount {
                let choices = token * routing.topK ..< (token + 1) * routing.topK
                let chosen = choices.map { homes[Int(routing.expertIDs[$0])] }
                for rank in Set(chosen) where nodes[rank] != nodes[source] {
                    out[nodes[source]][nodes[rank]] += 1
                }
                for rank in chosen where nodes[rank] != nodes[source] {
                    home[nodes[rank]][nodes[source]] += 1
                }
            }
            tokens += routing.tokenCount
            outputs += routing.tokenCount * routing.topK
        }
    }

    /// Rows that cross between nodes, all together.
    func crossing(_ half: ExchangeRecord.Kind) -> Int { rows(half).joined().reduce(0, +) }

    /// The most rows that one node sends, or is sent.
    func busiest(_ half: ExchangeRecord.Kind) -> Int {
        let rows = rows(half)
        let received = rows.indices.map { node in rows.reduce(0) { $0 + $1[node] } }
        return max(rows.map { $0.reduce(0, +) }.max() ?? 0, received.max() ?? 0)
    }

    private func rows(_ half: ExchangeRecord.Kind) -> [[Int]] { half == .dispatch ? out : home }
}

extension AllToAllOptions {
    /// Bytes of one row on its way between nodes: on its way out it brings a word for each expert
    /// and one more.
    func crossingBytes(_ half: ExchangeRecord.Kind) -> Int {
        half == .dispatch
            ? dispatchCodec.byteCount(columns: hiddenSize) + 8 * (topK + 1)
            : combineCodec.byteCount(columns: hiddenSize)
    }
}
