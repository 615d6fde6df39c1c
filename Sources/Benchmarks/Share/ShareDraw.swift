import Collectives
import Encoding
import Models

/// Draws what the gates of all ranks choose, and keeps what concerns one of them.
struct ShareDraw {
    private let generator: RoutingGenerator
    private let ranks: Int
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
        expertsPerRank = model.routedExpertCount / options.ranks
        seed = options.seed
        takesBusiest = options.pattern != .uniform
    }

    /// One block's choices of `tokens` tokens of every rank.
    func traffic(tokens: Int, layer: Int) throws -> RankShare.Traffic {
        let all = try (0 ..< ranks).map { rank in
            try generator.routing(
                tokenCount: tokens,
                seed: SplitMix64.mix(seed &+ UInt64(layer * Self.seedsPerLayer + rank)))
        }
        let measured = takesBusiest ? busiest(all) : 0
        var own = all[measured]
        own.expertIDs = own.expertIDs.map { swapped($0, measured) }
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

    /// The rank whose experts are chosen most.
    private func busiest(_ all: [Routing]) -> Int {
        var rows = [Int](repeating: 0, count: ranks)
        for expert in all.lazy.flatMap(\.expertIDs) { rows[Int(expert) / expertsPerRank] += 1 }
        return rows.indices.max { rows[$0] < rows[$1] } ?? 0
    }

    /// The number of an expert where the measured rank has the place of the first.
    private func swapped(_ expert: Int32, _ measured: Int) -> Int32 {
        let (rank, place) = (Int(expert) / expertsPerRank, Int(expert) % expertsPerRank)
        let other = rank == measured ? 0 : rank == 0 ? measured : rank
        return Int32(other * expertsPerRank + place)
    }
}
