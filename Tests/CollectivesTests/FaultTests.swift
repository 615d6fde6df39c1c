import Benchmarks
import Tensors
import TestSupport
import Testing
import Topology
import TransportTesting

@testable import Collectives
@testable import Transport

/// What a rank may do to the others: die at any moment, or write what no rank writes.
@Suite struct FaultTests {
    private static func group(
        _ fabric: any Fabric, mode: ExpertParallelConfiguration.Mode = .normal
    ) throws -> ExpertParallelGroup {
        var configuration = ExpertParallelConfiguration(
            mode: mode, hiddenSize: 128, topK: 2, maximumTokensPerRank: 8)
        configuration.limit = .seconds(10)
        return try ExpertParallelGroup(
            fabric: fabric, configuration: configuration,
            map: map(fabric))
    }

    private static func map(_ fabric: any Fabric) throws -> ExpertMap {
        try .contiguous(expertCount: 6, rankCount: fabric.rankCount)
    }

    enum Moment: CaseIterable { case setUp, dispatch, combine, leave }

    @Test(arguments: Moment.allCases, [nil, [0, 0, 1], [0, 1, 2]] as [[Int]?])
    func `a rank that dies at any moment is named by every survivor`(
        moment: Moment, nodes: [Int]?
    ) throws {
        let endings = try onRanksCatching(3, nodes: nodes, in: ManualClock()) { fabric in
            func isLast(_ now: Moment) -> Bool {
                if fabric.rank == 2, now == moment { fabric.vanish() }
                return fabric.rank == 2 && now == moment
            }
            if isLast(.setUp) { return }
            let group = try Self.group(fabric)
            if isLast(.dispatch) { return }
            let tokens = Tensor(rows: 1, columns: 128)
            // Each token goes to an expert of every other rank.
            let next = Int32(2 * ((fabric.rank.rawValue + 1) % 3))
            let routing = try Routing(tokenCount: 1, topK: 2, expertIDs: [next, (next + 2) % 6])
            let received = try group.dispatch(
                tokens, routing: routing, in: Self.map(fabric), layer: 0
            ).wait()
            let rows = Tensor(rows: received.rowCount, columns: 128)
            if isLast(.combine) { return }
            try group.combine(rows, for: received).wait(addingInto: tokens)
            if isLast(.leave) { return }
            try fabric.barrier(deadline: fabric.deadline(.seconds(10), "leave"))
        }
        for rank in 0 ..< 2 {
            let error = #expect(throws: TransportError.self) { try endings[rank].get() }
            #expect(error?.rank == 2, "rank \(rank): \(error.map { "\($0)" } ?? "none")")
        }
    }

    /// What a block may hold that is wrong, and how the receiver calls it.
    enum Garbage: CaseIterable {
        case count, noPairs, manyPairs, place, expert, choice

        func words() -> (head: UInt64, pair: UInt64, count: Int, fact: String) {
            let head = Entry.head(row: 0, count: 1)
            func pair(local: Int = 0, choice: Int = 0, place: Int = 0) -> UInt64 {
                Entry.pair(local: local, choice: choice, place: place, weight: 1)
            }
            return switch self {
            case .count: (head, pair(), 1_000_000, "1000000")
            case .noPairs: (Entry.head(row: 0, count: 0), pair(), 1, "a token with 0 experts")
            case .manyPairs: (Entry.head(row: 0, count: 99), pair(), 1, "a token with 99 experts")
            case .place: (head, pair(place: 9), 1, "place 9")
            case .expert: (head, pair(local: 500), 1, "local expert 500 of 3")
            case .choice: (head, pair(choice: 40), 1, "choice 40 of 2")
            }
        }
    }

    @Test(arguments: Garbage.allCases, ExpertParallelConfiguration.Mode.allCases)
    func `garbage in a block names its sender`(
        garbage: Garbage, mode: ExpertParallelConfiguration.Mode
    ) throws {
        let (head, pair, count, fact) = garbage.words()
        let endings = try onRanksCatching(2, nodes: [0, 1]) { fabric in
            let group = try Self.group(fabric, mode: mode)
            guard fabric.rank == 1 else {
                let routing = try Routing(tokenCount: 0, topK: 2, expertIDs: [])
                let none = Tensor(rows: 1, columns: 128).view(rows: 0 ..< 0)
                _ = try group.dispatch(none, routing: routing, in: Self.map(fabric), layer: 0)
                    .wait()
                return
            }
            let here = group.windows.maps[1]
            let staged = here.stagedBlock(0, to: 0, count: 1)
            group.windows.window.withStaging(staged) { block in
                block.setWord(0, at: 0)
                block.setWord(head, at: WindowMap.blockHeadBytes)
                block.setWord(pair, at: WindowMap.blockHeadBytes + 8)
            }
            // The buffer of the first exchange is known to its group alone: both get it.
            for buffer in 0 ..< ExpertParallelConfiguration.bufferCount {
                try group.windows.window.put(
                    staged, to: 0,
                    at: group.windows.maps[0].block(buffer, from: 1, count: 1).lowerBound,
                    signal: ArrivalSignal.index(.block, buffer: buffer, from: 1, rankCount: 2),
                    value: ArrivalSignal.word(sequence: 1, count: count))
            }
            try fabric.barrier(deadline: Deadline(.seconds(1), "the end"))
        }
        let error = #expect(throws: CollectivesError.self) { try endings[0].get() }
        guard case .malformed(1, let found)? = error else {
            Issue.record("\(error.map { "\($0)" } ?? "no error")")
            return
        }
        #expect(found.contains(fact), "\(found)")
    }

    /// Of 256 experts on 4 nodes, top-8 without groups: 4 (1 - C(192, 8) / C(256, 8)) nodes hold an
    /// expert of a token, one of them its own in a quarter of the cases each.
    @Test func `a token crosses to each node that holds one of its experts, once`() throws {
        var missing = 1.0
        for choice in 0 ..< 8 { missing *= Double(192 - choice) / Double(256 - choice) }
        let distinctNodes = 4 * (1 - missing)
        #expect(abs(distinctNodes - 3.614) < 0.001)

        var options = AllToAllOptions(path: .library)
        options.tokenCount = 1024
        options.hiddenSize = 128
        options.warmUpCount = 0
        options.iterationCount = 1
        let chosen = options
        let all = try onRanks(8, nodes: [0, 0, 1, 1, 2, 2, 3, 3]) { fabric in
            try AllToAllBenchmark(fabric: fabric, options: chosen).run { _, _ in }
        }
        let result = AllToAllResult(all[0], options: options)
        #expect(result.wrong == 0)
        let tokens = 8 * 1024.0
        let crossed = Double(result.dispatch.crossingRows) / tokens
        #expect(abs(crossed / (distinctNodes * 3 / 4) - 1) < 0.01, "\(crossed) nodes per token")
        // A row: head word and eight pairs, the bytes, a scale per 128 of them; a head per block.
        let row = 9 * 8 + 128 + 4
        let blocks = 8 * 3 * 64
        #expect(
            result.dispatch.crossingBytes == result.dispatch.crossingRows * ((row + 7) / 8 * 8)
                + blocks)
        // Rows return once per node too.
        #expect(result.combine.crossingRows == result.dispatch.crossingRows)
    }
}
