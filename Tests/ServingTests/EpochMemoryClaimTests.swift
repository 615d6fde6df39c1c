import Foundation
import Models
import Synchronization
import Testing
import Topology
import Transport

import func TestSupport.onRanks

@testable import Serving

/// What ranks say of memory when they meet, and who reads then.
@Suite struct EpochMemoryClaimTests {
    private static func memory(
        _ needed: [Int], free: [Int?], machines: [Int]? = nil, isPatient: Bool = true
    ) -> EpochMemory {
        EpochMemory(
            claims: zip(needed, free).map {
                EpochMemory.Claim(needed: $0, free: $1, isPatient: isPatient)
            }, machines: machines ?? needed.map { _ in 0 })
    }

    @Test func `the needs of a machine are summed, and those of others are not`() {
        let memory = Self.memory(
            [10, 0, 20, 40], free: [30, 30, 30, 39], machines: [0, 0, 0, 1])
        #expect((0 ..< 4).map { memory.needed(with: $0) } == [30, 30, 30, 40])
        #expect((0 ..< 4).map(memory.isShort) == [false, false, false, true])
    }

    @Test func `ranks wait together while memory is missing on one machine and all are patient`() {
        let short = Self.memory([10, 10], free: [10, 9], machines: [0, 1])
        #expect(short.isWaiting)
        #expect(!Self.memory([10, 10], free: [10, 10], machines: [0, 1]).isWaiting)
        var claims = short.claims
        claims[0].isPatient = false
        #expect(!EpochMemory(claims: claims, machines: [0, 1]).isWaiting)
        #expect(!Self.memory([10, 10], free: [nil, nil]).isWaiting, "nobody knows")
    }

    @Test func `of a machine with too little the first ranks read, each that fits beside those`() {
        #expect(Self.memory([10, 30, 10], free: [20, 20, 20]).firstReaders(with: 2) == [0, 2])
        #expect(Self.memory([30, 10], free: [20, 20]).firstReaders(with: 0) == [1])
        #expect(Self.memory([0, 10], free: [9, 9]).firstReaders(with: 0) == [])
        let two = Self.memory([10, 10, 10], free: [10, 10, 10], machines: [0, 1, 0])
        #expect(two.firstReaders(with: 0) == [0] && two.firstReaders(with: 1) == [1])
    }

    private static func preparation(
        _ fabric: any Fabric, limit: Duration, free: @escaping @Sendable () -> Int?
    ) throws -> EpochPreparation {
        var configuration = ServingRankConfiguration(directory: Golden.tiny)
        configuration.freeMemory = free
        configuration.releaseLimit = limit
        return try ServingRank(configuration, fabric: fabric).preparation
    }

    private static func coming(
        _ preparation: EpochPreparation, _ rank: Rank, _ old: GroupEpoch, _ new: GroupEpoch
    ) throws -> Int {
        func place(_ epoch: GroupEpoch) -> Rank {
            Rank(rawValue: epoch.living.firstIndex(of: rank) ?? 0)
        }
        let bytes = try ComingExperts(
            preparation.checkpoint, configuration: preparation.shape,
            options: preparation.options, held: (preparation.map(old), place(old)),
            wanted: (preparation.map(new), place(new))
        ).byteCount
        return bytes > 0 ? bytes + EpochMemory.readingBytes : 0
    }

    /// The first expert of each layer of two ranks changes places.
    private static func swapped(
        _ placements: [ExpertPlacement], _ one: Int, _ other: Int
    ) throws -> [ExpertPlacement] {
        try placements.map { placement in
            var experts = placement.expertsByRank
            (experts[one][0], experts[other][0]) = (experts[other][0], experts[one][0])
            return try ExpertPlacement(
                expertCount: placement.expertCount, expertsByRank: experts)
        }
    }

    @Test func `a rank that comes back counts what the others lack, not what they held before`()
        throws
    {
        let fabrics = try makeLoopbackFabrics(rankCount: 3)
        defer { for fabric in fabrics { fabric.close() } }
        let needed = Mutex(0)
        let results = try onRanks(3) { fabric -> [Int] in
            let preparation = try Self.preparation(fabric, limit: .zero) { needed.withLock { $0 } }
            let start = try preparation.shape.expertPlacements(rankCount: 3, redundantExperts: 0)
            let now = try Self.swapped(start, 0, 1)
            // It loaded for an epoch before experts of the others were placed anew.
            let loaded = GroupEpoch(
                number: 2, rankCount: 3, living: [0, 1, 2], placements: start)
            let present = GroupEpoch(number: 3, rankCount: 3, living: [0, 1], placements: now)
            let next = GroupEpoch(
                number: 4, rankCount: 3, living: [0, 1, 2],
                placements: try Self.swapped(now, 1, 2))
            let held = fabric.rank == 2 ? loaded : present
            let own = try Self.coming(preparation, 2, loaded, next)
            let others = try ([0, 1] as [Rank]).map {
                try Self.coming(preparation, $0, present, next)
            }
            needed.withLock { $0 = own + others.reduce(0, +) }
            let prepared = try preparation.prepare(fabrics[fabric.rank.rawValue], next)
            try preparation.fetch(prepared, next, from: held) { true }
            let guess = try ([0, 1] as [Rank]).map {
                try Self.coming(preparation, $0, loaded, next)
            }
            return [own, others.reduce(0, +), guess.reduce(0, +)]
        }
        #expect(results[2][0] > 0 && results[2][2] > results[2][1], "\(results[2])")
    }

    @Test func `after a loss no rank counts what the one before it has taken already`() throws {
        let (first, next) = (
            GroupEpoch.first(rankCount: 3), GroupEpoch(number: 2, rankCount: 3, living: [0, 2])
        )
        let fabrics = try makeLoopbackFabrics(rankCount: 2)
        defer { for fabric in fabrics { fabric.close() } }
        // What is free: at first a byte too little, then enough for both until one has read.
        let machine = Mutex((needed: 0, looks: 0, taken: 0))
        let refusals = try onRanks(3) { fabric -> String? in
            let isLast = fabric.rank == 2
            let preparation = try Self.preparation(fabric, limit: .seconds(3)) {
                // The last rank looks after the first one has read, if that does not wait for it.
                if isLast { Thread.sleep(forTimeInterval: 0.3) }
                return machine.withLock {
                    $0.looks += 1
                    return $0.needed - $0.taken - ($0.looks <= 2 ? 1 : 0)
                }
            }
            guard fabric.rank != 1 else { return nil }
            let own = try Self.coming(preparation, fabric.rank, first, next)
            machine.withLock { $0.needed += own }
            let prepared = try preparation.prepare(fabrics[isLast ? 1 : 0], next)
            do {
                try preparation.checkMemory(prepared, from: first, hasBegun: true)
            } catch let error as ServingError {
                return error.message
            }
            machine.withLock { $0.taken += own }
            return nil
        }
        #expect(refusals == [nil, nil, nil])
    }

    @Test func `memory that an epoch before gives back is waited for`() throws {
        let (first, next) = (
            GroupEpoch.first(rankCount: 2), GroupEpoch(number: 2, rankCount: 2, living: [0])
        )
        let alone = try makeLoopbackFabrics(rankCount: 1)[0]
        defer { alone.close() }
        let looks = Mutex(0)
        let wasRead = try onRanks(2) { fabric -> Bool in
            let preparation = try Self.preparation(fabric, limit: .seconds(5)) {
                looks.withLock { looks in
                    looks += 1
                    return looks > 2 ? 1 << 40 : 0
                }
            }
            guard fabric.rank == 0 else { return false }
            let prepared = try preparation.prepare(alone, next)
            try preparation.fetch(prepared, next, from: first) { true }
            return prepared.hasFetched
        }
        #expect(wasRead == [true, false])
        #expect(looks.withLock { $0 } == 3)
    }
}
