internal import Topology

/// Who gets which token of one rank, and where what comes back will lie: all of a dispatch that
/// follows from the routing alone.
///
/// A second dispatch with the same routing, as in a backward pass, reuses it.
public final class DispatchLayout: Sendable {
    /// The choices that it was made from.
    public let routing: Routing
    /// Per rank of this node: words of the entries it gets, `topK + 1` each.
    let entries: [[UInt64]]
    /// Per carrier on another node: words before each token of its block, `topK + 1` each.
    let blocks: [[UInt64]]
    /// Tokens that a rank of this node receives, or any rank at all.
    let tokensSent: [Int32]
    /// Per choice: which rank holds the row that adds to the token, and which of its rows; -1
    /// where another choice's row includes this one. A carrier's number is offset by the ranks.
    let contributors: [Int32]
    let rows: [Int32]
    /// Per carrier: its first row among those that return, and how many they are.
    let returnBase: [Int]
    let returnCount: [Int]

    /// Per rank: tokens it receives, and how often they meet one of its experts.
    let tokensPerRank: [Int]
    let pairCounts: [Int]

    /// Tokens of the routing.
    public var tokenCount: Int { routing.tokenCount }
    /// Words of one entry.
    var stride: Int { routing.topK + 1 }

    func entryCount(_ rank: Int) -> Int { entries[rank].count / stride }
    func slotCount(_ carrier: Int) -> Int { blocks[carrier].count / stride }

    init(_ routing: Routing, chooser: CopyChooser, map: RankMap, addsBeforeReturn: Bool) {
        let ranks = map.rankCount
        let topK = routing.topK
        // Ranks of this node come first, carriers after: one list of both.
        var lists = [[UInt64]](repeating: [], count: 2 * ranks)
        var lastToken = [Int](repeating: -1, count: 2 * ranks)
        var rowCounts = [Int](repeating: 0, count: 2 * ranks)
        let listOfRank = (0 ..< ranks).map { reader in
            map.share(map.rank, reader) ? reader : ranks + map.carrier(from: map.rank, to: reader)
        }
        var contributors = [Int32](repeating: -1, count: routing.tokenCount * topK)
        var rows = contributors
        var tokensSent: [Int32] = []
        var tokensPerRank = [Int](repeating: 0, count: ranks)
        var pairCounts = tokensPerRank
        var lastOfRank = [Int](repeating: -1, count: ranks)
        tokensSent.reserveCapacity(routing.tokenCount)

        for token in 0 ..< routing.tokenCount {
            var isSent = false
            for choice in 0 ..< topK {
                let index = token * topK + choice
                let expert = Int(routing.expertIDs[index])
                if expert < 0 { continue }
                isSent = true
                let (reader, local) = chooser.copy(of: expert, token: token)
                let list = listOfRank[reader]
                pairCounts[reader] += 1
                if lastOfRank[reader] != token { tokensPerRank[reader] += 1 }
                lastOfRank[reader] = token
                let isFirst = lastToken[list] != token
                if isFirst {
                    lastToken[list] = token
                    lists[list].append(Entry.head(row: token, count: 0))
                    for _ in 0 ..< topK { lists[list].append(0) }
                }
                let head = lists[list].count - topK - 1
                let place = Entry.count(lists[list][head])
                lists[list][head] += 1 << 32
                lists[list][head + 1 + place] = Entry.pair(
                    local: local, choice: choice, place: map.placeInNode[reader],
                    weight: routing.weights[index])
                if isFirst || !addsBeforeReturn {
                    contributors[index] = Int32(list)
                    rows[index] = Int32(rowCounts[list])
                    rowCounts[list] += 1
                }
            }
            if isSent { tokensSent.append(Int32(token)) }
        }

        var base = 0
        returnBase = (0 ..< ranks).map { carrier in
            defer { base += rowCounts[ranks + carrier] }
            return base
        }
        returnCount = Array(rowCounts[ranks...])
        for index in contributors.indices where contributors[index] >= Int32(ranks) {
            rows[index] += Int32(returnBase[Int(contributors[index]) - ranks])
        }
        entries = Array(lists[..<ranks])
        blocks = Array(lists[ranks...])
        self.tokensPerRank = tokensPerRank
        self.pairCounts = pairCounts
        self.routing = routing
        self.contributors = contributors
        self.rows = rows
        self.tokensSent = tokensSent
    }
}
