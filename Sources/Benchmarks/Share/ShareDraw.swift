import Collectives
import Encoding
import Models

/// Draws what the gates of all ranks choose, and keeps what concerns one of them.
struct ShareDraw {
    private let generator: RoutingGenerator
    private let ranks: Int
    /// Ranks of a node; 1 where nodes are not equal, as no two of them can be exchanged whole.
    private let ranksPerNode: Int
    private let expertsPerRank: Int
    private let seed: UInt64
    /// Whether the rank with most rows is measured, for which the others wait.
    private let takesBusiest: Bool
    /// More than ranks, so that no two draws share a seed.
    private static let seedsPerLayer = 1 << 20

    init(_ options: ShareOptions) throws {
        let model = options.model
        generator = try RoutingGenerator(
            pattern: options.pattern.drawn, expertCount: model.routedExpertCount,
            topK: model.activeExpertCount, groupCount: model.groupCount,
            topGroups: model.keptGroupCount)
        ranks = options.ranks
        let isEven = options.ranks.isMultiple(of: options.ranksPerNode)
        ranksPerNode = isEven ? options.ranksPerNode : 1
        expertsPerRank = model.routedExpertCount / options.ranks
        seed = options.seed
        takesBusiest = options.pattern != .uniform
    }

    /// One block's choices of `tokens` tokens of every rank.
    func traffic(tokens: Int, layer: Int) throws -> RankShare.Traffic {
        let all = try (0 ..< ranks).map { try routing(rank: $0, tokens: tokens, layer: layer) }
        let measured = takesBusiest ? busiest(all) : 0
        var own = all[measured]
        own.expertIDs = own.expertIDs.map { exchanged($0, measured) }
        var arrivals: [RankShare.Traffic.Arrival] = []
        var arrivedTokens = 0
        for (rank, routing) in all.enumerated() where rank != measured {
            for token in 0 ..< tokens {
                let chosen = routing.expertIDs[token * routing.topK ..< (token + 1) * routing.topK]
                let here = chosen.map { Int($0) }.filter { $0 / expertsPerRank == measured }
                arrivals += here.map {
                    .init(token: arrivedTokens, expert: $0 % expertsPerRank)
                }
                arrivedTokens += here.isEmpty ? 0 : 1
            }
        }
        return RankShare.Traffic(own: own, arrivedTokens: arrivedTokens, arrivals: arrivals)
    }

    /// What one rank's tokens choose in a block.
    func routing(rank: Int, tokens: Int, layer: Int) throws -> Routing {
        try generator.routing(
            tokenCount: tokens,
            seed: SplitMix64.mix(seed &+ UInt64(layer * Self.seedsPerLayer + rank)))
    }

    /// The rank whose experts are chosen most.
    private func busiest(_ all: [Routing]) -> Int {
        var rows = [Int](repeating: 0, count: ranks)
        for expert in all.lazy.flatMap(\.expertIDs) { rows[Int(expert) / expertsPerRank] += 1 }
        return rows.indices.max { rows[$0] < rows[$1] } ?? 0
    }

    /// The number of an expert where the measured rank is the first.
    private func exchanged(_ expert: Int32, _ measured: Int) -> Int32 {
        let (rank, place) = Int(expert).quotientAndRemainder(dividingBy: expertsPerRank)
        let other = Self.exchanged(rank, measured: measured, ranksPerNode: ranksPerNode)
        return Int32(other * expertsPerRank + place)
    }

    /// The number of a rank where the measured one is the first: its node is exchanged with the
    /// first node, then both ranks inside it, so that ranks of one node stay on one node.
    static func exchanged(_ rank: Int, measured: Int, ranksPerNode: Int) -> Int {
        func swapped(_ index: Int, _ other: Int) -> Int {
            index == other ? 0 : index == 0 ? other : index
        }
        let node = swapped(rank / ranksPerNode, measured / ranksPerNode)
        let index = rank % ranksPerNode
        guard node == 0 else { return node * ranksPerNode + index }
        return swapped(index, measured % ranksPerNode)
    }
}
