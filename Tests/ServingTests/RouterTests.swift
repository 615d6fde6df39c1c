import Foundation
import Synchronization
import Testing
import Topology

@testable import Serving

@Suite struct RouterTests {
    /// Routes `count` requests over ranks with these capacities, and returns where each went.
    private func ranks(of count: Int, _ capacities: [EngineCapacity]) async throws -> [Int] {
        let sent = Mutex<[Int]>([])
        let router = LeastLoadedRouter(rankCount: capacities.count) { rank, _ in
            sent.withLock { $0.append(rank.rawValue) }
        }
        for (rank, capacity) in capacities.enumerated() {
            let message = try JSONEncoder().encode(EngineMessage.capacity(capacity))
            try router.receive(Array(message), from: Rank(rawValue: rank))
        }
        var streams: [AsyncThrowingStream<GenerationEvent, any Error>] = []
        for number in 0 ..< count {
            let request = GenerationRequest(
                id: RequestID(rawValue: UInt64(number)), prompt: [1], maxNewTokens: 1)
            streams.append(try await router.submit(request))
        }
        // Streams that nobody holds would withdraw their requests.
        withExtendedLifetime(streams) {}
        return sent.withLock { $0 }
    }

    @Test func `requests go to the rank with the fewest`() async throws {
        let capacity = EngineCapacity(runningLimit: 8)
        #expect(try await ranks(of: 5, [capacity, capacity, capacity]) == [0, 1, 2, 0, 1])
    }

    @Test func `a spare rank gets requests when the others are full`() async throws {
        let capacities = (0 ..< 4).map {
            EngineCapacity(number: $0, threads: 1, cores: 2, runningLimit: 2)
        }
        #expect(capacities.map(\.isSpare) == [false, false, true, true])
        #expect(try await ranks(of: 7, capacities) == [0, 1, 0, 1, 2, 3, 2])
    }

    @Test func `statistics bear the job's rank, not the rank's number in its group`() async throws {
        let router = LeastLoadedRouter(rankCount: 3) { _, _ in }
        // Rank 2 is rank 0 of a second group.
        var statistics = EngineStatistics()
        statistics.rank = 0
        let message = try JSONEncoder().encode(EngineMessage.statistics(statistics))
        try router.receive(Array(message), from: 2)
        #expect(await router.statistics().map(\.rank) == [2])
    }

    @Test(arguments: [(2, 1, 2), (1, 4, 2), (2, 2, 4), (1, 1, 1)])
    func `as many ranks as the cores carry are not spare, and one always`(
        expected: Int, threads: Int, cores: Int
    ) {
        let capacities = (0 ..< 4).map {
            EngineCapacity(number: $0, threads: threads, cores: cores, runningLimit: 2)
        }
        #expect(capacities.count { !$0.isSpare } == expected)
    }
}
