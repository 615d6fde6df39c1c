import Foundation
import Models
import Synchronization
import Topology

/// What a machine has for weights that come to its ranks.
struct EpochMemory: Sendable {
    /// Bytes that were free when the ranks met; nil where nobody knows.
    let free: Int?
    /// The ranks of the machine, by their places in the epoch, the one that asks among them.
    let places: [Rank]

    /// For rows that are read, and what steps allocate meanwhile, on each rank.
    static let readingBytes = 64 << 20
}

/// For how many ranks of its node a rank's head is cut; any thread may ask.
final class HeldPlaces: Sendable {
    private let stored = Mutex(1)

    var count: Int {
        get { stored.withLock { $0 } }
        set { stored.withLock { $0 = newValue } }
    }
}

extension EpochPreparation {
    /// Refuses weights for which the machine has no memory, before one is read: the system would
    /// end a process, and with it all that it serves.
    ///
    /// Counted are experts that come, unless they were read, and a head that is cut anew; latents
    /// that the cache does not hold yet are not.
    ///
    /// - Parameters:
    ///   - present: The epoch whose experts the ranks hold.
    ///   - limit: How long memory that is missing is waited for, after which only those ranks
    ///     refuse for which it does not suffice after the ranks before them. Nil refuses on all
    ///     ranks of the machine at once, because the epoch need not come.
    /// - Throws: `ServingError.engine` with the bytes that are needed and those that are there.
    func checkMemory(
        _ prepared: PreparedEpoch, from present: GroupEpoch, limit: Duration? = nil
    ) throws {
        let (here, places) = (prepared.engine.barrier.rank, prepared.memory.places)
        let head = try Model.recutHeadBytes(
            checkpoint, shape, options, held: heldPlaces.count, wanted: places.count)
        let coming = try comingExperts(prepared, from: present)
        let own = try coming(here)
        guard own.count > 0 || head > 0,
            var free = prepared.hasFetched
                ? configuration.freeMemory() : prepared.memory.free
        else { return }
        let needs = try places.map { place in
            let bytes = try coming(place).byteCount + head
            return (place, bytes: bytes > 0 ? bytes + EpochMemory.readingBytes : 0)
        }
        let sum = needs.reduce(0) { $0 + $1.bytes }
        let begin = ContinuousClock.now
        // All wait for the whole sum, as no rank sees what those before it have taken of it.
        while sum > free, .now - begin < limit ?? .zero {
            Thread.sleep(forTimeInterval: 0.1)
            free = configuration.freeMemory() ?? free
        }
        // All ranks know the same order, so the first ones read and only the last ones refuse.
        let counted = needs.filter { $0.bytes > 0 && (limit == nil || $0.0 <= here) }
        let needed = counted.reduce(0) { $0 + $1.bytes }
        guard needed > free else { return }
        let cut = head > 0 ? " and a head of \(head) bytes that is cut anew" : ""
        let ranks =
            limit == nil
            ? "the \(counted.count) ranks of its machine that read weights"
            : "this rank and \(counted.count - 1) before it on its machine"
        throw ServingError.engine(
            message: "epoch \(prepared.members.number) brings \(own.count) experts of"
                + " \(own.byteCount) bytes\(cut) to this rank: \(ranks) need \(needed) bytes of"
                + " memory, and \(free) are free (MemAvailable, and what control groups leave):"
                + " free memory there, or give the job more machines or a smaller"
                + " limits.cacheTokens")
    }

    /// What comes to each place of an epoch and was not read.
    private func comingExperts(
        _ prepared: PreparedEpoch, from present: GroupEpoch
    ) throws -> (Rank) throws -> ComingExperts {
        let next = prepared.members
        let (old, new) = (try map(present), prepared.engine.map)
        return { place in
            let rank = next.living[place.rawValue]
            // One that comes back has read its share.
            guard !prepared.hasFetched, let held = present.living.firstIndex(of: rank) else {
                return ComingExperts()
            }
            return try ComingExperts(
                checkpoint, configuration: shape, options: options,
                held: (old, Rank(rawValue: held)), wanted: (new, place))
        }
    }
}
