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

        /// - Parameter figures: What is free at each reading; the last one from then on.
        init(_ figures: [Int?]) { self.figures = Mutex(figures) }

        func read() -> Int? {
            figures.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] }
        }
    }

    private static let first = GroupEpoch.first(rankCount: 3)
    private static let next = GroupEpoch(number: 2, rankCount: 3, living: [0, 2])

    /// Ranks 0 and 2 of three meet without rank 1.
    ///
    /// - Parameters:
    ///   - hasBegun: Whether that is after a loss; else rank 1 is drained.
    ///   - limit: How long memory is waited for.
    /// - Returns: What of that each is refused for, and the bytes that both need.
    private static func refusals(
        hasBegun: Bool = false, limit: Duration = .zero,
        free: @escaping @Sendable (_ needed: Int) -> Int?
    ) throws -> (refusals: [String?], needed: Int) {
        let needed = Mutex(0)
        let fabrics = try makeLoopbackFabrics(rankCount: 2)
        defer { for fabric in fabrics { fabric.close() } }
        let results = try onRanks(3) { fabric -> String? in
            var configuration = ServingRankConfiguration(directory: Golden.tiny)
            configuration.freeMemory = { free(needed.withLock { $0 }) }
            configuration.releaseLimit = limit
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
            return try refusal {
                if hasBegun {
                    try preparation.checkMemory(prepared, from: first, hasBegun: true)
                } else {
                    try preparation.fetch(prepared, next, from: first) { true }
                    #expect(prepared.hasFetched)
                }
            }
        }
        return ([results[0], results[2]], needed.withLock { $0 })
    }

    /// Why an engine refuses; nil where it does not.
    private static func refusal(_ body: () throws -> Void) throws -> String? {
        do {
            try body()
            return nil
        } catch let error as ServingError {
            return error.message
        }
    }

    @Test func `where all bytes are free the experts are read`() throws {
        let (refusals, needed) = try Self.refusals { $0 }
        #expect(refusals == [nil, nil] && needed > 2 * EpochMemory.readingBytes)
        #expect(try Self.refusals { _ in nil }.refusals == [nil, nil], "nobody knows what is free")
    }

    @Test func `where one byte is missing both ranks refuse, with both numbers and a remedy`()
        throws
    {
        let (refusals, needed) = try Self.refusals { $0 - 1 }
        for refusal in refusals {
            let text = try #require(refusal)
            #expect(text.hasPrefix("epoch 2 brings "), "\(text)")
            #expect(
                text.contains("need \(needed) bytes of memory, and \(needed - 1) are free"),
                "\(text)")
            #expect(text.contains("limits.cacheTokens"), "\(text)")
        }
    }

    @Test func `after a loss only the last rank of a machine refuses for a missing byte`() throws {
        let (refusals, needed) = try Self.refusals(hasBegun: true) { $0 - 1 }
        let text = try #require(refusals[1])
        #expect(refusals[0] == nil)
        #expect(text.contains("this rank and 1 before it on its machine need \(needed) bytes"))
    }

    /// Three ranks of a node and one of another hold all experts and share a head; then rank 1
    /// leaves.
    ///
    /// - Parameters:
    ///   - missing: Bytes that the first node has less than two heads and what reading them takes,
    ///     when the ranks prepare.
    ///   - later: The same when they change over.
    /// - Returns: Why ranks 0, 2 and 3 refuse the one and the other.
    private static func headRefusals(missing: Int, later: Int = 0) throws -> [[String?]] {
        let fabrics = try makeLoopbackFabrics(rankCount: 3) { $0.nodes = [0, 0, 1] }
        defer { for fabric in fabrics { fabric.close() } }
        let first = GroupEpoch.first(rankCount: 4)
        let next = GroupEpoch(number: 2, rankCount: 4, living: [0, 2, 3])
        let results = try onRanks(4, nodes: [0, 0, 0, 1]) { fabric -> [String?] in
            let free = Mutex(0)
            var configuration = ServingRankConfiguration(directory: Golden.tiny)
            configuration.cores = 4
            configuration.engine.sharedHeadBytes = 0
            configuration.redundantExperts = 48
            configuration.releaseLimit = .zero
            configuration.freeMemory = { free.withLock { $0 } }
            let preparation = try ServingRank(configuration, fabric: fabric).preparation
            guard let place = next.living.firstIndex(of: fabric.rank) else { return [] }
            let head = try Model.recutHeadBytes(
                preparation.checkpoint, preparation.shape, preparation.options, held: 3, wanted: 2)
            let needed = 2 * (head + EpochMemory.readingBytes)
            free.withLock { $0 = needed - missing }
            let prepared = try preparation.prepare(fabrics[place], next)
            let before = try refusal {
                try preparation.fetch(prepared, next, from: first) { true }
            }
            free.withLock { $0 = needed - later }
            let after = try refusal {
                try preparation.checkMemory(prepared, from: first, hasBegun: true)
            }
            return [before, after]
        }
        return [0, 1].map { moment in next.living.map { results[$0.rawValue][moment] } }
    }

    @Test func `a head that is cut anew is counted although no expert comes`() throws {
        let refusals = try Self.headRefusals(missing: 1)
        for refusal in refusals[0][..<2] {
            let text = try #require(refusal)
            #expect(text.contains("brings 0 experts of 0 bytes and a head of "), "\(text)")
        }
        #expect(refusals[0][2] == nil, "the other node keeps its head")
        #expect(refusals[1] == [nil, nil, nil], "all of it is free when they change over")
    }

    @Test func `a head that is cut anew is counted when experts were read before`() throws {
        let refusals = try Self.headRefusals(missing: 0, later: 1)
        #expect(refusals[0] == [nil, nil, nil])
        #expect(refusals[1].map { $0 == nil } == [true, false, true])
    }

    @Test func `memory is waited for less long than other ranks wait for this one`() {
        var configuration = ServingRankConfiguration(directory: Golden.tiny)
        configuration.releaseLimit = .seconds(20)
        configuration.stepLimit = .seconds(60)
        #expect(configuration.memoryLimit == .seconds(20))
        configuration.stepLimit = .seconds(30)
        #expect(configuration.memoryLimit == .seconds(15))
        configuration.recoveryLimit = .seconds(8)
        #expect(configuration.memoryLimit == .seconds(4))
    }

    /// Rank 0 of two goes on alone.
    ///
    /// - Returns: Why it does not.
    private static func alone(_ memory: Memory) throws -> String? {
        let alone = try makeLoopbackFabrics(rankCount: 1)[0]
        defer { alone.close() }
        return try onRanks(2) { fabric -> String? in
            var configuration = ServingRankConfiguration(directory: Golden.tiny)
            if fabric.rank == 0 { configuration.freeMemory = memory.read }
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
        #expect(try Self.alone(Memory([0, 0, 1 << 40])) == nil)
    }

    @Test func `a loss for which no memory comes ends a rank before it reads`() throws {
        let reason = try #require(try Self.alone(Memory([1000])))
        #expect(reason.contains("and 1000 are free (MemAvailable"), "\(reason)")
    }
}
