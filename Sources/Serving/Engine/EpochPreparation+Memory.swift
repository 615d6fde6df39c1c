import Models
import Topology
import Transport

extension EpochPreparation {
    /// What comes to a rank in an epoch and is not here yet.
    private struct Coming {
        var experts = ComingExperts()
        /// Bytes of a head that is cut anew.
        var head = 0

        /// Bytes of memory that the rank takes for it.
        var needed: Int {
            let bytes = experts.byteCount + head
            return bytes > 0 ? bytes + EpochMemory.readingBytes : 0
        }
    }

    /// Refuses weights for which the machine has no memory, before one is read: the system would
    /// end a process, and with it all that it serves. Collective among the ranks of the epoch.
    ///
    /// Counted are experts that come, unless they were read, and a head that is cut anew; latents
    /// that the cache does not hold yet are not.
    ///
    /// - Parameters:
    ///   - present: The epoch whose experts this rank holds.
    ///   - hasBegun: Whether the epoch has. Then only those ranks refuse for which the memory does
    ///     not suffice after the ranks before them; else all ranks of the machine do, because the
    ///     epoch need not come.
    /// - Throws: `ServingError.memory` with the bytes that are needed and those that are there, and
    ///   `TransportError` where the ranks do not meet.
    func checkMemory(
        _ prepared: PreparedEpoch, from present: GroupEpoch, hasBegun: Bool
    ) throws {
        let coming = try coming(prepared, from: present)
        let limit = configuration.memoryLimit
        let memory = try EpochMemory(
            coming.needed, free: configuration.freeMemory,
            limit: hasBegun ? limit : min(limit, Self.patience), on: prepared.fabric,
            meeting: configuration.longestMeeting)
        let here = prepared.fabric.rank.rawValue
        guard memory.isShort(here), let free = memory.claims[here].free else { return }
        var counted = memory.readers(with: here)
        if hasBegun {
            counted = memory.firstReaders(with: here)
            if counted.contains(here) { return }
            counted = counted.filter { $0 < here } + [here]
        }
        let needed = counted.reduce(0) { $0 + memory.claims[$1].needed }
        let (count, bytes) = (coming.experts.count, coming.experts.byteCount)
        let cut = coming.head > 0 ? " and a head of \(coming.head) bytes that is cut anew" : ""
        let ranks =
            hasBegun
            ? "this rank and \(counted.count - 1) before it on its machine"
            : "the \(counted.count) ranks of its machine that read weights"
        throw ServingError.memory(
            message: "epoch \(prepared.members.number) brings \(count) experts of \(bytes) bytes"
                + "\(cut) to this rank: \(ranks) need \(needed) bytes of memory, and \(free)"
                + " are free (MemAvailable, and what control groups leave): free memory there, or"
                + " give the job more machines or a smaller limits.cacheTokens")
    }

    /// How long ranks wait for memory before an epoch that need not come: others serve meanwhile,
    /// and whoever asked for it waits.
    private static let patience = Duration.seconds(5)

    /// What comes to this rank in an epoch and is not here yet.
    private func coming(_ prepared: PreparedEpoch, from present: GroupEpoch) throws -> Coming {
        let place = prepared.fabric.rank
        let rank = prepared.members.living[place.rawValue]
        var coming = Coming()
        coming.head = try Model.recutHeadBytes(
            checkpoint, shape, options, held: heldPlaces.count,
            wanted: prepared.fabric.nodeRanks.count)
        guard !prepared.hasFetched, let held = present.living.firstIndex(of: rank) else {
            return coming
        }
        coming.experts = try ComingExperts(
            checkpoint, configuration: shape, options: options,
            held: (map(present), Rank(rawValue: held)), wanted: (prepared.engine.map, place))
        return coming
    }
}
