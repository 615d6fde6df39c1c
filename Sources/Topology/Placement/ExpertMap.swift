/// Where the routed experts of every layer are: what the ranks of a job agree on for one epoch.
///
/// The map is a value. Each dispatch and each step takes one, so that no step mixes two epochs.
/// When a rank is lost, or a copy is loaded or dropped, a map with a higher epoch takes its place.
///
/// Invariants:
/// 1. All layers have the same ranks and the same number of experts.
/// 2. Every expert of every layer has a copy on a living rank.
/// 3. No rank holds more than `slotsPerRank` copies of one layer.
public struct ExpertMap: Hashable, Sendable {
    /// Counts the maps of a job from 1; it only grows.
    public let epoch: UInt64
    /// The ranks that take part, in order.
    public let livingRanks: [Rank]
    /// Which physical experts each rank holds, layer by layer; ranks that are lost still have the
    /// place that they had.
    public let placements: [ExpertPlacement]
    /// Copies of one layer that a rank has room for.
    public let slotsPerRank: Int

    /// The epoch in which a job begins.
    public static let firstEpoch: UInt64 = 1
    /// Far above what one job goes through; an epoch travels in 16 bits of a signal.
    package static let maximumEpoch: UInt64 = (1 << 16) - 1

    /// Describes an epoch.
    ///
    /// - Parameters:
    ///   - livingRanks: The ranks that take part; nil for all.
    ///   - placements: One per layer.
    ///   - spareSlotsPerRank: Room beyond the largest number of copies that a rank holds of one
    ///     layer: what later epochs may load without making windows anew.
    /// - Throws: `PlacementError` naming the layer and what is wrong with it.
    public init(
        epoch: UInt64 = firstEpoch, livingRanks: [Rank]? = nil, placements: [ExpertPlacement],
        spareSlotsPerRank: Int = 0
    ) throws(PlacementError) {
        guard (Self.firstEpoch ... Self.maximumEpoch).contains(epoch) else { throw .epoch(epoch) }
        guard let first = placements.first else { throw .noLayers }
        let largest = placements.map(\.largestLocalCount).max() ?? 0
        let living = Set(livingRanks ?? (0 ..< first.rankCount).map { Rank(rawValue: $0) })
        if let unknown = living.first(where: { !first.expertsByRank.indices.contains($0.rawValue) }
        ) {
            throw .unknownRank(unknown, rankCount: first.rankCount)
        }
        for (layer, placement) in placements.enumerated() {
            guard placement.rankCount == first.rankCount,
                placement.expertCount == first.expertCount
            else {
                throw .layersDiffer(
                    layer: layer, ranks: placement.rankCount, experts: placement.expertCount)
            }
            if let lost = placement.firstExpert(without: living) {
                throw .lost(lost, layer: layer)
            }
        }
        self.epoch = epoch
        self.livingRanks = living.sorted()
        self.placements = placements
        slotsPerRank = largest + spareSlotsPerRank
    }

    /// The map of a job that starts: all ranks live, and every layer has one copy of each expert,
    /// in order, as evenly as the counts allow.
    public static func contiguous(
        expertCount: Int, rankCount: Int, layerCount: Int = 1, spareSlotsPerRank: Int = 0
    ) throws -> ExpertMap {
        let placement = try ExpertPlacement.contiguous(
            expertCount: expertCount, rankCount: rankCount)
        return try ExpertMap(
            placements: [ExpertPlacement](repeating: placement, count: max(1, layerCount)),
            spareSlotsPerRank: spareSlotsPerRank)
    }

    /// The map of an epoch in which only some ranks of a group live, numbered as in the fabric that
    /// they make for it: 0 for the first of them, and so on.
    ///
    /// - Parameters:
    ///   - placements: One per layer, of all ranks of the group.
    ///   - living: Those that live, in order, numbered as in the group.
    /// - Throws: `PlacementError` where that is no map.
    public static func remaining(
        of placements: [ExpertPlacement], living: [Rank], epoch: UInt64
    ) throws -> ExpertMap {
        try ExpertMap(
            epoch: epoch, placements: placements.map { try $0.remaining(on: living) })
    }

    /// The next epoch: without some of the ranks, or with copies in other places, within the same
    /// slots.
    ///
    /// - Parameter placements: One per layer; nil leaves the copies where they are.
    /// - Throws: `PlacementError.lost` if an expert would have no living copy;
    ///   `.slots` if a rank would hold more copies than it has room for.
    public func next(
        without lost: Set<Rank> = [], placements: [ExpertPlacement]? = nil
    ) throws(PlacementError) -> ExpertMap {
        let placements = placements ?? self.placements
        for (layer, placement) in placements.enumerated()
        where placement.largestLocalCount > slotsPerRank {
            throw .slots(placement.largestLocalCount, layer: layer, limit: slotsPerRank)
        }
        let largest = placements.map(\.largestLocalCount).max() ?? 0
        return try ExpertMap(
            epoch: epoch + 1, livingRanks: livingRanks.filter { !lost.contains($0) },
            placements: placements, spareSlotsPerRank: slotsPerRank - largest)
    }
}

extension ExpertMap {
    /// Routed experts of one layer (`n_routed_experts`).
    public var expertCount: Int { placements[0].expertCount }
    /// Ranks of the job, the lost ones included.
    public var rankCount: Int { placements[0].rankCount }
    /// Layers, those without routed experts included.
    public var layerCount: Int { placements.count }

    /// The ranks that take no part any more.
    public var lostRanks: Set<Rank> {
        Set((0 ..< rankCount).map { Rank(rawValue: $0) }).subtracting(livingRanks)
    }

    /// The logical experts that a rank holds of a layer, in local order: what it loads.
    public func experts(on rank: Rank, layer: Int) -> [ExpertID] {
        placements[layer].experts(on: rank)
    }

    /// Which copy serves each token of a rank in a layer.
    ///
    /// - Parameter nodes: The node of every rank.
    public func copies(for source: Rank, layer: Int, nodes: [NodeID]) -> CopyChooser {
        CopyChooser(placements[layer], for: source, nodes: nodes, living: livingRanks)
    }
}
