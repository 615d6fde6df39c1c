import Foundation
import Synchronization
import Testing
import Topology
import Transport

@testable import Serving

@Suite struct StepBarrierTests {
    /// What each rank's step ended with, on a thread of its own.
    private func endings(
        _ maps: [ExpertMap], limit: Duration = .seconds(10),
        _ body: @escaping @Sendable (StepBarrier, ExpertMap) throws -> StepRequest
    ) throws -> [Result<StepRequest, any Error>?] {
        let fabrics = try makeLoopbackFabrics(rankCount: maps.count)
        let endings = Mutex([Result<StepRequest, any Error>?](repeating: nil, count: maps.count))
        let threads = DispatchGroup()
        for fabric in fabrics {
            threads.enter()
            Thread.detachNewThread {
                let ending = Result {
                    try body(
                        StepBarrier(fabric: fabric, limit: limit), maps[fabric.rank.rawValue])
                }
                endings.withLock { $0[fabric.rank.rawValue] = ending }
                threads.leave()
            }
        }
        threads.wait()
        for fabric in fabrics { fabric.close() }
        return endings.withLock { $0 }
    }

    @Test func `a rank that is lost in the map is not waited for`() throws {
        let first = try ExpertMap(placements: [
            ExpertPlacement(expertCount: 2, expertsByRank: [[0, 1], [0], [0, 1]])
        ])
        let second = try first.next(without: [1])
        let found = try endings([second, second, second]) { barrier, map in
            if barrier.rank == 1 { return [] }
            _ = try barrier.begin([], in: map)
            return try barrier.begin(barrier.rank == 0 ? .overlap : .draft, in: map).request
        }
        #expect(try found[0]?.get() == [.overlap, .draft])
        #expect(try found[2]?.get() == [.overlap, .draft])
    }

    @Test func `ranks of two epochs do not begin a step together`() throws {
        let first = try ExpertMap.contiguous(expertCount: 2, rankCount: 2)
        let second = try first.next()
        let found = try endings([first, second], limit: .milliseconds(500)) { barrier, map in
            try barrier.begin([], in: map).request
        }
        let error = #expect(throws: ServingError.self) { try found[0]?.get() }
        #expect("\(error.map { "\($0)" } ?? "")".contains("rank 1 began a step in epoch 2"))
        #expect(throws: TransportError.self) { try found[1]?.get() }
    }

    /// What two nodes of two ranks agree on, from what their ranks send.
    private func agreements(_ requests: [StepRequest]) -> [StepAgreement] {
        let sent = Dictionary(
            uniqueKeysWithValues: requests.enumerated().map { (Rank(rawValue: $0), $1) })
        return requests.indices.map {
            StepAgreement(sent, of: Rank(rawValue: $0)) { $0.rawValue / 2 }
        }
    }

    @Test func `a rank leads its node if it alone has tokens there, and few`() {
        let few: StepRequest = [.tokens, .fewTokens]
        let alone = agreements([[], few, [], []])
        #expect(alone.map(\.leader) == [1, 1, nil, nil])
        #expect(alone.map(\.isAlone) == [false, true, false, false])
        #expect(agreements([few, few, few, []]).map(\.leader) == [nil, nil, 2, 2])
        #expect(agreements([.tokens, [], [], few]).map(\.leader) == [nil, nil, 3, 3])
        #expect(agreements([[], [], [], []]).map(\.leader) == [nil, nil, nil, nil])
    }

    @Test func `micro-batches and a leader exclude each other, the same on all ranks`() {
        let few: StepRequest = [.tokens, .fewTokens]
        let splitting = few.union([.overlap, .draft])
        let led = agreements([splitting, [], [], few])
        #expect(led.map(\.request) == [.draft, .draft, .draft, .draft])
        #expect(led.map(\.leader) == [0, 0, 3, 3])
        let split = agreements([splitting, .tokens, [], few])
        #expect(split.allSatisfy { $0.request == [.overlap, .draft] && $0.leader == nil })
    }
}
