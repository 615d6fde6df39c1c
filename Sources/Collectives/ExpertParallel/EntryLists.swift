internal import Topology

/// A layout in the making: tokens are added in order, each once.
struct EntryLists {
    private let routing: Routing
    private let copies: CopyChooser
    private let map: RankMap
    private let addsBeforeReturn: Bool
    /// Which list carries what a rank reads. Ranks of this node come first, carriers after.
    private let listOfRank: PerRank<Int>
    private var lastOfList: [Int]
    private var lastOfRank: PerRank<Int>

    /// One stretch per list that is used, long enough for every token.
    private(set) var words: [UInt64]
    let starts: [Int]
    private(set) var ends: [Int]
    private(set) var rowCounts: [Int]
    private(set) var contributors: [Int32]
    private(set) var rows: [Int32]
    private(set) var tokensSent: [Int32] = []
    private(set) var tokensPerRank: PerRank<Int>
    private(set) var pairCounts: PerRank<Int>

    init(_ routing: Routing, copies: CopyChooser, map: RankMap, addsBeforeReturn: Bool) {
        let ranks = map.rankCount
        self.routing = routing
        self.copies = copies
        self.map = map
        self.addsBeforeReturn = addsBeforeReturn
        listOfRank = PerRank(
            map.ranks.map { reader in
                map.share(map.rank, reader)
                    ? reader.rawValue
                    : ranks + map.carrier(from: map.rank, to: reader).rawValue
            })
        lastOfList = [Int](repeating: -1, count: 2 * ranks)
        lastOfRank = PerRank(repeating: -1, count: ranks)
        let used = Set(listOfRank.values)
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
        tokensPerRank = PerRank(repeating: 0, count: ranks)
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
            let copy = copies.copy(of: ExpertID(rawValue: expert), token: token)
            let reader = copy.rank
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
                local: copy.localIndex, choice: choice, place: map.placeInNode[reader],
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
