import Foundation
import Models
import Topology

/// What a machine has for experts that come to its ranks.
struct EpochMemory: Sendable {
    /// Bytes that were free when the ranks met; nil where nobody knows.
    let free: Int?
    /// The ranks of the machine, by their places in the epoch, the one that asks among them.
    let places: [Rank]

    /// For rows that are read, and what steps allocate meanwhile, on each rank.
    static let readingBytes = 64 << 20
    /// For the system to take back what a process that was lost held.
    static let releaseLimit = Duration.seconds(5)
}

extension EpochPreparation {
    /// Refuses experts for which the machine has no memory, before one is read: the system would
    /// end a process, and with it all that it serves.
    ///
    /// Latents that the cache does not hold yet are not counted.
    ///
    /// - Parameters:
    ///   - present: The epoch whose experts the ranks hold.
    ///   - limit: How long memory that is missing is waited for.
    /// - Throws: `ServingError.engine` with the bytes that are needed and those that are there.
    func checkMemory(
        _ prepared: PreparedEpoch, from present: GroupEpoch, limit: Duration = .zero
    ) throws {
        let next = prepared.members
        let (old, new) = (try map(present), prepared.engine.map)
        func coming(to place: Rank) throws -> ComingExperts {
            let rank = next.living[place.rawValue]
            // One that comes back has read its share.
            guard let held = present.living.firstIndex(of: rank) else { return ComingExperts() }
            return try ComingExperts(
                checkpoint, configuration: shape, options: options,
                held: (old, Rank(rawValue: held)), wanted: (new, place))
        }
        let own = try coming(to: prepared.engine.barrier.rank)
        guard own.count > 0, var free = prepared.memory.free else { return }
        let all = try prepared.memory.places.map(coming).filter { $0.count > 0 }
        let needed = all.reduce(ComingExperts(), +).byteCount + all.count * EpochMemory.readingBytes
        let begin = ContinuousClock.now
        while needed > free, .now - begin < limit {
            Thread.sleep(forTimeInterval: 0.1)
            free = configuration.freeMemory() ?? free
        }
        guard needed > free else { return }
        throw ServingError.engine(
            message: "epoch \(next.number) brings \(own.count) experts of \(own.byteCount) bytes to"
                + " this rank: the \(all.count) ranks of its machine that get experts need"
                + " \(needed) bytes of memory, and \(free) are free (MemAvailable, and what control"
                + " groups leave): free memory there, or give the job more machines or a smaller"
                + " limits.cacheTokens")
    }
}
