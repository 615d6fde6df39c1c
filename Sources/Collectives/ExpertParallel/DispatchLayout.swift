internal import Topology

/// Who gets which token of one rank, and where what comes back will lie: all of a dispatch that
/// follows from the routing alone.
///
/// A second dispatch with the same routing, as in a backward pass, reuses it.
public final class DispatchLayout: Sendable {
    /// The choices that it was made from.
    public let routing: Routing
    /// The epoch that it is for.
    let epoch: UInt64
    /// Who reaches whom.
    let map: RankMap
    /// Which experts of the layer each rank holds.
    private let placement: ExpertPlacement
    /// Words of the entries, `topK + 1` each: for each rank of this node those that it gets, for
    /// each carrier on another node those before the tokens of its block.
    private let words: [UInt64]
    /// Where the words of a rank lie, then those of a carrier.
    private let ranges: [Range<Int>]
    /// Tokens that a rank of this node receives, or any rank at all.
    let tokensSent: [Int32]
    /// Per choice: which rank holds the row that adds to the token, and which of its rows; -1
    /// where another choice's row includes this one. A carrier's number is offset by the ranks.
    let contributors: [Int32]
    let rows: [Int32]
    /// Per carrier: its first row among those that return, and how many they are.
    let returnBase: PerRank<Int>
    let returnCount: PerRank<Int>

    /// Per rank: tokens it receives, and how often they meet one of its experts.
    let tokensPerRank: PerRank<Int>
    let pairCounts: PerRank<Int>

    /// Tokens of the routing.
    public var tokenCount: Int { routing.tokenCount }
    /// Words of one entry.
    var stride: Int { routing.topK + 1 }

    func entries(_ rank: Rank) -> ArraySlice<UInt64> { words[ranges[rank.rawValue]] }
    func block(_ carrier: Rank) -> ArraySlice<UInt64> {
        words[ranges[carrier.rawValue + map.rankCount]]
    }
    func entryCount(_ rank: Rank) -> Int { entries(rank).count / stride }
    func slotCount(_ carrier: Rank) -> Int { block(carrier).count / stride }

    /// Experts that a rank holds.
    func expertCount(on rank: Rank) -> Int { placement.expertsByRank[rank.rawValue].count }

    init(_ routing: Routing, routes: EpochRoutes, layer: Int, addsBeforeReturn: Bool) {
        let map = routes.ranks
        var lists = EntryLists(
            routing, copies: routes.copies[layer], map: map, addsBeforeReturn: addsBeforeReturn)
        for token in 0 ..< routing.tokenCount { lists.add(token) }

        let ranks = map.rankCount
        let counts = Array(lists.rowCounts[ranks...])
        var base = 0
        let bases = counts.map { count in
            defer { base += count }
            return base
        }
        var rows = lists.rows
        for index in rows.indices where lists.contributors[index] >= Int32(ranks) {
            rows[index] += Int32(bases[Int(lists.contributors[index]) - ranks])
        }
        self.routing = routing
        self.map = map
        epoch = routes.map.epoch
        placement = routes.map.placements[layer]
        words = lists.words
        ranges = lists.starts.indices.map { lists.starts[$0] ..< lists.ends[$0] }
        tokensPerRank = lists.tokensPerRank
        pairCounts = lists.pairCounts
        returnBase = PerRank(bases)
        returnCount = PerRank(counts)
        contributors = lists.contributors
        self.rows = rows
        tokensSent = lists.tokensSent
    }
}
