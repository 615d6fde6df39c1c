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
        return PreparedEpoch(
            EngineEpoch(barrier: barrier, map: map), shared: try shared(map, fabric),
            capacity: EngineCapacity(
                number: fabric.ranks.count {
                    $0 < fabric.rank && fabric.node(of: $0) == fabric.node(of: fabric.rank)
                },
                threads: configuration.threads, cores: configuration.cores,
                runningLimit: configuration.engine.runningLimit))
    }

    /// Where the experts are in an epoch.
    func map(_ epoch: GroupEpoch) throws -> ExpertMap {
        try shape.expertMap(
            rankCount: epoch.rankCount, living: epoch.living, epoch: epoch.number)
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
    let shared: SharedExperts?
    let capacity: EngineCapacity

    init(_ engine: EngineEpoch, shared: SharedExperts?, capacity: EngineCapacity) {
        self.engine = engine
        self.shared = shared
        self.capacity = capacity
    }
}
