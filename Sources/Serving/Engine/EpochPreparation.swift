import Checkpoints
import Collectives
import Models
import Tensors
import Topology
public import Transport

/// Makes what a rank needs of an epoch's fabric: the barrier of steps and the group that shares
/// experts. Any thread may, while the rank still serves in the epoch before.
public struct EpochPreparation: Sendable {
    let configuration: ServingRankConfiguration
    let shape: ModelConfiguration
    let compute: Compute
    let options: ModelOptions
    let checkpoint: Checkpoint
    /// What the rank holds now.
    let heldPlaces = HeldPlaces()

    /// Makes the windows. Collective: all ranks of the fabric call it.
    ///
    /// - Parameters:
    ///   - fabric: The ranks that take part in the epoch, in its order.
    ///   - epoch: Which ranks of the group they are.
    /// - Throws: `TransportError` naming a rank that does not come.
    public func prepare(_ fabric: any Fabric, _ epoch: GroupEpoch) throws -> PreparedEpoch {
        precondition(
            epoch.living.count == fabric.rankCount,
            "\(epoch.living.count) living ranks on a fabric of \(fabric.rankCount)")
        let barrier = try StepBarrier(
            fabric: fabric, limit: configuration.stepLimit,
            firstLimit: configuration.recoveryLimit)
        let map = try map(epoch)
        // Before the last meeting: no rank reads anything before all have checked.
        let memory = EpochMemory(
            free: configuration.freeMemory(),
            places: fabric.ranks.filter { fabric.node(of: $0) == fabric.node(of: fabric.rank) })
        return PreparedEpoch(
            EngineEpoch(barrier: barrier, map: map), of: epoch, memory: memory,
            shared: try shared(map, fabric),
            capacity: EngineCapacity(
                number: fabric.ranks.count {
                    $0 < fabric.rank && fabric.node(of: $0) == fabric.node(of: fabric.rank)
                },
                threads: configuration.threads, cores: configuration.cores,
                runningLimit: configuration.engine.runningLimit))
    }

    /// Reads the experts that come to this rank in an epoch, with a thread of its own.
    ///
    /// - Parameters:
    ///   - prepared: The epoch, as `prepare` made it; it takes the experts along.
    ///   - next: Which ranks of the group it has.
    ///   - present: The epoch whose experts this rank holds: the one in which it serves, or that
    ///     for which it loaded where it is about to come back.
    ///   - isWanted: Asked now and then; nothing more is read once it says no.
    /// - Throws: `ServingError.engine` where this machine has no memory for them or for a head
    ///   that is cut anew, before one is read; what is wrong with the checkpoint, or with the
    ///   placements of an epoch.
    public func fetch(
        _ prepared: PreparedEpoch, _ next: GroupEpoch, from present: GroupEpoch,
        isWanted: () -> Bool
    ) throws {
        let place = prepared.engine.barrier.rank
        let rank = next.living[place.rawValue]
        guard let old = present.living.firstIndex(of: rank) else { return }
        try checkMemory(prepared, from: present)
        prepared.fetched = try FetchedExperts(
            checkpoint, configuration: shape, options: options,
            held: (map(present), Rank(rawValue: old)), wanted: (map(next), place),
            pool: ThreadPool(threads: 1), isWanted: isWanted)
    }

    /// Where the experts are in an epoch.
    ///
    /// - Throws: `ServingError.engine` for placements of another model.
    func map(_ epoch: GroupEpoch) throws -> ExpertMap {
        // A rank that comes back is alone until it meets the others, and needs no copy twice.
        let first = try shape.expertPlacements(
            rankCount: epoch.rankCount,
            redundantExperts: epoch.rankCount > 1 ? configuration.redundantExperts : 0)
        let placements = epoch.placements ?? first
        guard placements.count == first.count,
            placements.allSatisfy({
                $0.expertCount == shape.routedExpertCount && $0.rankCount == epoch.rankCount
            })
        else {
            throw ServingError.engine(
                message: "epoch \(epoch.number) has placements of \(placements.count) layers for"
                    + " another model or group: this one has \(first.count) with"
                    + " \(shape.routedExpertCount) experts on \(epoch.rankCount) ranks")
        }
        return try .remaining(of: placements, living: epoch.living, epoch: epoch.number)
    }

    /// The ranks that share the routed experts; nil where one rank has all.
    private func shared(_ map: ExpertMap, _ fabric: any Fabric) throws -> SharedExperts? {
        guard fabric.rankCount > 1 else { return nil }
        let group = try ExpertParallelGroup(
            fabric: fabric,
            configuration: shape.expertParallel(
                maximumTokensPerRank: configuration.engine.stepTokens, compute: compute,
                limit: configuration.stepLimit),
            map: map)
        return SharedExperts(group, map)
    }
}

/// An epoch in which a rank may take part.
///
/// Safe because: one thread makes it, and one uses it from then on.
public final class PreparedEpoch: @unchecked Sendable {
    let engine: EngineEpoch
    /// Which ranks of the group it has.
    let members: GroupEpoch
    /// What was there for experts when its ranks met.
    let memory: EpochMemory
    let shared: SharedExperts?
    let capacity: EngineCapacity
    /// Experts that were read for it.
    fileprivate(set) var fetched: FetchedExperts?

    /// Whether they were.
    var hasFetched: Bool { fetched != nil }

    /// Gives the experts away, so that those that are not used take no memory.
    func takeFetched() -> FetchedExperts? {
        defer { fetched = nil }
        return fetched
    }

    init(
        _ engine: EngineEpoch, of members: GroupEpoch, memory: EpochMemory,
        shared: SharedExperts?, capacity: EngineCapacity
    ) {
        self.engine = engine
        self.members = members
        self.memory = memory
        self.shared = shared
        self.capacity = capacity
    }
}
