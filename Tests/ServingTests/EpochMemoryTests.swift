import Foundation
import Models
import Synchronization
import Testing
import Topology
import Transport

import func TestSupport.onRanks

@testable import Serving

/// Experts of a rank that leaves or is lost, where memory is short.
@Suite struct EpochMemoryTests {
    /// Memory as somebody planted it.
    private final class Memory: Sendable {
        private let figures: Mutex<[Int?]>

        /// - Parameter figures: What is free at each look; the last one from then on.
        init(_ figures: [Int?]) { self.figures = Mutex(figures) }

        func look() -> Int? {
            figures.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] }
        }
    }

    private static let first = GroupEpoch.first(rankCount: 3)
    private static let next = GroupEpoch(number: 2, rankCount: 3, living: [0, 2])

    /// Ranks 0 and 2 of three meet without rank 1.
    ///
    /// - Returns: What of that each is refused for, and the bytes that both need.
    private static func fetched(
        free: @escaping @Sendable (_ needed: Int) -> Int?
    ) throws -> (refusals: [String?], needed: Int) {
        let needed = Mutex(0)
        let fabrics = try makeLoopbackFabrics(rankCount: 2)
        defer { for fabric in fabrics { fabric.close() } }
        let results = try onRanks(3) { fabric -> String? in
            var configuration = ServingRankConfiguration(directory: Golden.tiny)
            configuration.freeMemory = { free(needed.withLock { $0 }) }
            let preparation = try ServingRank(configuration, fabric: fabric).preparation
            guard fabric.rank != 1 else { return nil }
            let (old, new) = (try preparation.map(first), try preparation.map(next))
            let coming = try [(0, 0), (2, 1)].map { held, place in
                try ComingExperts(
                    preparation.checkpoint, configuration: preparation.shape,
                    options: preparation.options, held: (old, Rank(rawValue: held)),
                    wanted: (new, Rank(rawValue: place)))
            }.reduce(ComingExperts(), +)
            needed.withLock { $0 = coming.byteCount + 2 * EpochMemory.readingBytes }
            let own = fabrics[fabric.rank == 0 ? 0 : 1]
            let prepared = try preparation.prepare(own, next)
            do {
                try preparation.fetch(prepared, next, from: first) { true }
                #expect(prepared.hasFetched)
                return nil
            } catch let error as ServingError {
                #expect(!prepared.hasFetched)
                return error.message
            }
        }
        return ([results[0], results[2]], needed.withLock { $0 })
    }

    @Test func `where all bytes are free the experts are read`() throws {
        let (refusals, needed) = try Self.fetched { $0 }
        #expect(refusals == [nil, nil] && needed > 2 * EpochMemory.readingBytes)
        #expect(try Self.fetched { _ in nil }.refusals == [nil, nil], "nobody knows what is free")
    }

    @Test func `where one byte is missing both ranks refuse, with both numbers and a remedy`()
        throws
    {
        let (refusals, needed) = try Self.fetched { $0 - 1 }
        for refusal in refusals {
            let text = try #require(refusal)
            #expect(text.hasPrefix("epoch 2 brings "), "\(text)")
            #expect(
                text.contains("need \(needed) bytes of memory, and \(needed - 1) are free"),
                "\(text)")
            #expect(text.contains("limits.cacheTokens"), "\(text)")
        }
    }

    /// Rank 0 of two goes on alone.
    ///
    /// - Returns: Why it does not.
    private static func alone(_ memory: Memory) throws -> String? {
        let alone = try makeLoopbackFabrics(rankCount: 1)[0]
        defer { alone.close() }
        return try onRanks(2) { fabric -> String? in
            var configuration = ServingRankConfiguration(directory: Golden.tiny)
            if fabric.rank == 0 { configuration.freeMemory = memory.look }
            let rank = try ServingRank(configuration, fabric: fabric)
            guard fabric.rank == 0 else { return nil }
            rank.engine.interrupt(before: 2)
            do {
                try rank.run(
                    report: { _ in },
                    recover: { error in
                        if let error { throw error }
                        let next = GroupEpoch(number: 2, rankCount: 2, living: [0])
                        return try rank.preparation.prepare(alone, next)
                    }, recovered: { rank.engine.stop() })
                return nil
            } catch let error as ServingError {
                return error.message
            }
        }[0]
    }

    @Test func `after a loss a rank waits for memory that the lost process gives back`() throws {
        #expect(try Self.alone(Memory([nil, 0, 0, 1 << 40])) == nil)
    }

    @Test func `a loss for which no memory comes ends a rank before it reads`() throws {
        let reason = try #require(try Self.alone(Memory([1000])))
        #expect(reason.contains("and 1000 are free (MemAvailable"), "\(reason)")
    }
}
