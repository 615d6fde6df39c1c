internal import Topology

/// Who gets which token of one rank, and where what comes back will lie: all of a dispatch that
/// follows from the routing alone.
///
/// A second dispatch with the same routing, as in a backward pass, reuses it.
public final class DispatchLayout: Sendable {
    /// The choices that it was made from.
    public let routing: Routing
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
    let returnBase: [Int]
    let returnCount: [Int]

    /// Per rank: tokens it receives, and how often they meet one of its experts.
    let tokensPerRank: [Int]
    let pairCounts: [Int]

    /// Tokens of the routing.
    public var tokenCount: Int { routing.tokenCount }
    /// Words of one entry.
    var stride: Int { routing.topK + 1 }

    func entries(_ rank: Int) -> ArraySlice<UInt64> { words[ranges[rank]] }
    func block(_ carrier: Int) -> ArraySlice<UInt64> {
        words[ranges[carrier + tokensPerRank.count]]
    }
    func entryCount(_ rank: Int) -> Int { entries(rank).count / stride }
    func slotCount(_ carrier: Int) -> Int { block(carrier).count / stride }

    init(_ routing: Routing, chooser: CopyChooser, map: RankMap, addsBeforeReturn: Bool) {
        var lists = EntryLists(
            routing, chooser: chooser, map: map, addsBeforeReturn: addsBeforeReturn)
        for token in 0 ..< routing.tokenCount { lists.add(token) }

        let ranks = map.rankCount
        var base = 0
        returnBase = (0 ..< ranks).map { carrier in
            defer { base += lists.rowCounts[ranks + carrier] }
            return base
        }
        returnCount = Array(lists.rowCounts[ranks...])
        var rows = lists.rows
        for index in rows.indices where lists.contributors[index] >= Int32(ranks) {
            rows[index] += Int32(returnBase[Int(lists.contributors[index]) - ranks])
        }
        words = lists.words
        ranges = lists.starts.indices.map { lists.starts[$0] ..< lists.ends[$0] }
        tokensPerRank = lists.tokensPerRank
        pairCounts = lists.pairCounts
        self.routing = routing
        contributors = lists.contributors
        self.rows = rows
        tokensSent = lists.tokensSent
    }
}

/// A layout in the making: tokens are added in order, each once.
private struct EntryLists {
    private let routing: Routing
    private let chooser: CopyChooser
    private let map: RankMap
    private let addsBeforeReturn: Bool
    /// Which list carries what a rank reads. Ranks of this node come first, carriers after.
    private let listOfRank: [Int]
    private var lastOfList: [Int]
    private var lastOfRank: [Int]

    /// One stretch per list that is used, long enough for every token.
    private(set) var words: [UInt64]
    let starts: [Int]
    private(set) var ends: [Int]
    private(set) var rowCounts: [Int]
    private(set) var contributors: [Int32]
    private(set) var rows: [Int32]
    private(set) var tokensSent: [Int32] = []
    private(set) var tokensPerRank: [Int]
    private(set) var pairCounts: [Int]

    init(_ routing: Routing, chooser: CopyChooser, map: RankMap, addsBeforeReturn: Bool) {
        let ranks = map.rankCount
        self.routing = routing
        self.chooser = chooser
        self.map = map
        self.addsBeforeReturn = addsBeforeReturn
        listOfRank = (0 ..< ranks).map { reader in
            map.share(map.rank, reader) ? reader : ranks + map.carrier(from: map.rank, to: reader)
        }
        lastOfList = [Int](repeating: -1, count: 2 * ranks)
        lastOfRank = [Int](repeating: -1, count: ranks)
        let used = Set(listOfRank)
        let stretch = routing.tokenCount * (routing.topK + 1)
        var wordCount = 0
        starts = (0 ..< 2 * ranks).map { list in
            defer { wordCount += used.contains(list) ? stretch : 0 }
            return wordCount
        }
        ends = starts
        words = [UInt64](repeating: 0, count: wordCount)
        rowCounts = [Int](repeating: 0, count: 2 * ranks)
        contributors = [Int32](repeating: -1, count: routing.tokenCount * routing.topK)
        rows = contributors
        tokensPerRank = [Int](repeating: 0, count: ranks)
        pairCounts = tokensPerRank
        tokensSent.reserveCapacity(routing.tokenCount)
    }

    mutating func add(_ token: Int) {
        let topK = routing.topK
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
            let isFirst = lastOfList[list] != token
            if isFirst {
                lastOfList[list] = token
                words[ends[list]] = Entry.head(row: token, count: 0)
                ends[list] += topK + 1
            }
            let head = ends[list] - topK - 1
            let place = Entry.count(words[head])
            words[head] += 1 << 32
            words[head + 1 + place] = Entry.pair(
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
}
