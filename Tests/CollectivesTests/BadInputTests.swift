import Benchmarks
import Tensors
import TestSupport
import Testing
import Topology
import Transport

@testable import Collectives

@Suite struct BadInputTests {
    static func group(
        _ fabric: any Fabric, tokens: Int = 8, hidden: Int = 128, limit: Duration = .seconds(30)
    ) throws -> ExpertParallelGroup {
        var configuration = ExpertParallelConfiguration(
            mode: .lowLatency, hiddenSize: hidden, topK: 2, maximumTokensPerRank: tokens)
        configuration.limit = limit
        return try ExpertParallelGroup(
            fabric: fabric, configuration: configuration,
            map: map(fabric))
    }

    static func map(_ fabric: any Fabric) throws -> ExpertMap {
        try .contiguous(expertCount: 4, rankCount: fabric.rankCount)
    }

    @Test func `ranks that disagree learn who and about what`() throws {
        let endings = try onRanksCatching(2) { fabric in
            _ = try Self.group(fabric, hidden: fabric.rank == 0 ? 128 : 256)
        }
        #expect(
            throws: CollectivesError.disagreement(
                1, subject: "hidden size", theirs: "256", ours: "128")
        ) {
            try endings[0].get()
        }
        #expect(
            throws: CollectivesError.disagreement(
                0, subject: "hidden size", theirs: "128", ours: "256")
        ) {
            try endings[1].get()
        }
    }

    @Test func `every bad choice is refused before a byte moves`() throws {
        _ = try onRanks(1) { fabric in
            let group = try Self.group(fabric)
            let map = try Self.map(fabric)
            func refused(_ ids: [Int32], _ weights: [Float]? = nil) -> CollectivesError? {
                do throws(CollectivesError) {
                    let routing = try Routing(
                        tokenCount: ids.count / 2, topK: 2, expertIDs: ids, weights: weights)
                    _ = try group.layout(for: routing, in: map, layer: 0)
                    return nil
                } catch { return error }
            }
            #expect(refused([0, 1]) == nil)
            #expect(refused([0, -1]) == nil)
            #expect(refused([0, 4]) == .expertOutOfRange(4, token: 0, expertCount: 4))
            #expect(refused([-2, 0]) == .expertOutOfRange(-2, token: 0, expertCount: 4))
            #expect(refused([0, 1, 3, 3]) == .repeatedExpert(3, token: 1))
            #expect(refused([0, 1], [0.5, .nan]) == .weightNotFinite(token: 0, choice: 1))
            #expect(
                refused([0, 1], [0.5]) == .shape("gate weights", found: [1], expected: [1, 2]))
            let many = [Int32](repeating: -1, count: 18)
            #expect(refused(many) == .tooManyTokens(9, maximum: 8))
        }
    }

    @Test func `a third exchange in flight is refused`() throws {
        _ = try onRanks(2) { fabric in
            let group = try Self.group(fabric)
            let routing = try Routing(tokenCount: 1, topK: 2, expertIDs: [0, 3])
            let tokens = Tensor(rows: 1, columns: 128)
            let first = try group.dispatch(tokens, routing: routing, in: Self.map(fabric), layer: 0)
            let second = try group.dispatch(
                tokens, routing: routing, in: Self.map(fabric), layer: 0)
            #expect(throws: CollectivesError.tooManyInFlight(limit: 2)) {
                _ = try group.dispatch(tokens, routing: routing, in: Self.map(fabric), layer: 0)
            }
            for inFlight in [Pair(first), Pair(second)] {
                let received = try inFlight.take().wait()
                let rows = Tensor(rows: received.rowCount, columns: 128)
                try group.combine(rows, for: received).wait(addingInto: tokens)
            }
        }
    }

    /// Lets a noncopyable dispatch stand in a list.
    final class Pair {
        private var value: DispatchInFlight?
        init(_ value: consuming DispatchInFlight) { self.value = consume value }
        func take() -> DispatchInFlight { value.take()! }
    }

    @Test func `more ranks than experts are refused`() throws {
        #expect(throws: PlacementError.moreRanksThanExperts(ranks: 5, experts: 4)) {
            try ExpertPlacement.contiguous(expertCount: 4, rankCount: 5)
        }
    }

    @Test func `a silent rank is named within the deadline`() throws {
        let endings = try onRanksCatching(3) { fabric in
            let group = try Self.group(fabric, limit: .milliseconds(300))
            if fabric.rank == 2 { return }
            let routing = try Routing(tokenCount: 1, topK: 2, expertIDs: [0, 3])
            let tokens = Tensor(rows: 1, columns: 128)
            _ = try group.dispatch(tokens, routing: routing, in: Self.map(fabric), layer: 0).wait()
        }
        for rank in 0 ..< 2 {
            #expect(
                throws: TransportError.deadline(2, phase: "dispatch", limit: .milliseconds(300))
            ) {
                try endings[rank].get()
            }
        }
    }

    @Test func `survivors go on without a masked rank`() throws {
        let sums = try onRanks(3) { fabric in
            let map = try Self.map(fabric)
            let group = try Self.group(fabric)
            if fabric.rank == 1 {
                fabric.close()
                return Float(0)
            }
            let routing = try Routing(tokenCount: 1, topK: 2, expertIDs: [0, 3])
            let tokens = Tensor(rows: 1, columns: 128, values: [Float](repeating: 1, count: 128))
            do {
                _ = try group.dispatch(tokens, routing: routing, in: map, layer: 0).wait()
                Issue.record("a dispatch to a rank that left")
            } catch let error as TransportError {
                #expect(error.rank == 1)
            }
            let next = try map.next(
                without: [1],
                placements: [
                    ExpertPlacement(expertCount: 4, expertsByRank: [[0, 1], [], [2, 3]])
                ])
            let received = try group.dispatch(tokens, routing: routing, in: next, layer: 0).wait()
            let rows = Tensor(rows: received.rowCount, columns: 128)
            received.gather(into: rows)
            let result = Tensor(rows: 1, columns: 128)
            try group.combine(rows, for: received).wait(addingInto: result)
            #expect(group.records.last?.masked == [1])
            #expect(throws: CollectivesError.staleEpoch(1, current: 2)) {
                _ = try group.dispatch(tokens, routing: routing, in: map, layer: 0).wait()
            }
            #expect(throws: CollectivesError.rankReturned(1)) {
                let returned = try ExpertMap(epoch: 3, placements: map.placements)
                _ = try group.layout(for: routing, in: returned, layer: 0)
            }
            return result[0, 0]
        }
        #expect(sums == [2, 0, 2])
    }

    @Test func `the largest count of rows fits beside its sequence`() {
        let most = ExpertParallelConfiguration.tokenCeiling * Routing.maximumTopK
        let word = ArrivalSignal.word(sequence: 5, count: most)
        #expect(ArrivalSignal.count(of: word) == most)
        #expect(ArrivalSignal.sequence(of: word) == 5)
    }

    @Test(arguments: [0, -4, .max])
    func `experts that no model has are refused`(count: Int) {
        #expect(throws: CollectivesError.self) {
            try RoutingGenerator(pattern: .uniform, expertCount: count, topK: 2)
        }
    }

    @Test(arguments: [
        "zipf:nan", "zipf:-1", "zipf:x", "k-hot:7", "k-hot:-0.1", "uniform:3", "hot",
    ])
    func `a pattern that draws nothing sensible is refused`(text: String) {
        #expect(AllToAllOptions.Pattern(text) == nil)
    }

    @Test func `a place to return to that no window has is refused`() throws {
        let endings = try onRanksCatching(2, nodes: [0, 1]) { fabric in
            let group = try Self.group(fabric, limit: .seconds(2))
            let routing = try Routing(tokenCount: 1, topK: 2, expertIDs: [2, 3])
            let tokens = Tensor(rows: 1, columns: 128)
            let received = try group.dispatch(
                tokens, routing: routing, in: Self.map(fabric), layer: 0
            ).wait()
            if fabric.rank == 0 {
                // The head of the block that rank 1 carries, as a hostile rank would write it.
                let own = group.windows.maps[0].stagedBlock(1, to: 1, count: 0)
                group.windows.window.withStaging(own) { $0.setWord(UInt64(Int.max), at: 0) }
                try group.windows.window.put(
                    own, to: 1, at: group.windows.maps[1].block(1, from: 0, count: 0).lowerBound)
                try group.windows.window.flush(deadline: Deadline(.seconds(2), "test"))
            }
            try fabric.barrier(deadline: Deadline(.seconds(5), "test"))
            let rows = Tensor(rows: received.rowCount, columns: 128)
            try group.combine(rows, for: received).wait(addingInto: tokens)
        }
        let error = #expect(throws: CollectivesError.self) { try endings[1].get() }
        guard case .malformed(0, _)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }
}
