/// The placements of a group some of whose ranks are lost, as those that live see them.
///
/// Placements of a job are of all ranks: one that is lost has the place to which it comes back.
/// Those that live are numbered anew in their order, and serve the experts of which no copy is left
/// (`ExpertPlacement.remaining`). What is decided for them is put back into the placements of all.
public struct LivingPlacements: Hashable, Sendable {
    /// One per layer, of the ranks that live.
    public let placements: [ExpertPlacement]
    /// Copies of a layer that each of them has room for: its slots, or more where it serves experts
    /// of a lost rank.
    public let slots: [Int]
    /// Those that live, in order, numbered as in the group.
    public let living: [Rank]
    private let whole: [ExpertPlacement]

    /// Reads the placements of a group.
    ///
    /// - Parameters:
    ///   - whole: One per layer, of all ranks.
    ///   - living: Those that live, numbered as in the group; at least one.
    ///   - slots: Copies of a layer that each rank of the group has room for.
    /// - Throws: `PlacementError` or `TopologyError.balancing` where these do not belong together.
    public init(of whole: [ExpertPlacement], living: [Rank], slots: [Int]) throws {
        self.whole = whole
        self.living = living.sorted()
        placements = try whole.map { [living = self.living] in try $0.remaining(on: living) }
        if let layer = whole.firstIndex(where: { $0.rankCount != slots.count }) {
            throw TopologyError.balancing(
                "layer \(layer) is on \(whole[layer].rankCount) ranks: there are slots for"
                    + " \(slots.count)")
        }
        self.slots = self.living.enumerated().map { [placements] place, rank in
            placements.reduce(slots[rank.rawValue]) { max($0, $1.expertsByRank[place].count) }
        }
    }

    /// Placements of all ranks in which those that live have these copies.
    ///
    /// - Parameter next: One per layer, of the ranks that live.
    public func whole(_ next: [ExpertPlacement]) throws -> [ExpertPlacement] {
        try next.enumerated().map { layer, placement in
            guard placement != placements[layer] else { return whole[layer] }
            var experts = whole[layer].expertsByRank
            // A rank that comes back takes nothing until tokens are dealt anew.
            var shares = experts.map { $0.map { _ in 0 } }
            for (place, rank) in living.enumerated() {
                experts[rank.rawValue] = placement.expertsByRank[place]
                shares[rank.rawValue] = placement.shares?[place] ?? []
            }
            return try ExpertPlacement(
                expertCount: placement.expertCount, expertsByRank: experts,
                shares: placement.shares.map { _ in shares })
        }
    }

    /// What was decided for the ranks that live, with the placements and numbers of the group.
    public func whole(_ better: Rebalancing) throws -> Rebalancing {
        Rebalancing(
            placements: try whole(better.placements),
            moves: better.moves.map {
                Rebalancing.Move(
                    layer: $0.layer, expert: $0.expert, rank: living[$0.rank.rawValue],
                    instead: $0.instead, step: $0.step, layerImbalance: $0.layerImbalance,
                    imbalance: $0.imbalance)
            }, before: better.before, after: better.after)
    }

    /// The placements of all ranks once a rank is back: none of the others holds more than its
    /// slots where that can be, and tokens are dealt anew.
    ///
    /// The rank that is back takes nothing more than its place, because it has read that. Every
    /// rank lets go of copies beyond its slots; an expert of which there is one copy goes to a rank
    /// with room.
    ///
    /// - Parameters:
    ///   - rank: The rank that is back: one of `living`, numbered as in the group.
    ///   - slots: Copies of a layer that each rank of the group has room for.
    ///   - loads: `[layers][experts]`, tokens.
    public func fitted(
        back rank: Rank, slots: [Int], loads: [[Double]]
    ) throws -> [ExpertPlacement] {
        let kept = living.firstIndex(of: rank)
        let room = living.map { slots[$0.rawValue] }
        return try whole(
            zip(placements, loads).map { placement, loads in
                var fit = LayerFit(placement, room: room, kept: kept)
                fit.run()
                return try ExpertPlacement(
                    expertCount: placement.expertCount, expertsByRank: fit.experts
                ).dealt(loads: loads)
            })
    }
}

/// The copies of one layer while ranks let go of what they have no room for.
private struct LayerFit {
    private(set) var experts: [[ExpertID]]
    private let room: [Int]
    /// A rank that nothing is given to: it reads its own copies before it returns. It lets go of
    /// what it has no room for, as it may have been placed while another rank was lost.
    private let kept: Int?
    private var counts: [Int]

    init(_ placement: ExpertPlacement, room: [Int], kept: Int?) {
        experts = placement.expertsByRank
        self.room = room
        self.kept = kept
        counts = Array(repeating: 0, count: placement.expertCount)
        for expert in experts.joined() { counts[expert.rawValue] += 1 }
    }

    mutating func run() {
        let order = (kept.map { [$0] } ?? []) + experts.indices.filter { $0 != kept }
        for rank in order { while experts[rank].count > room[rank], drop(from: rank) {} }
        for rank in order { while experts[rank].count > room[rank], give(from: rank) {} }
    }

    /// A rank lets go of the last of its copies of which there are others.
    private mutating func drop(from rank: Int) -> Bool {
        guard let place = experts[rank].lastIndex(where: { counts[$0.rawValue] > 1 }) else {
            return false
        }
        counts[experts[rank].remove(at: place).rawValue] -= 1
        return true
    }

    /// The last expert of a rank goes to the one that has the most room, or a copy to let go of.
    private mutating func give(from rank: Int) -> Bool {
        guard let expert = experts[rank].last else { return false }
        let others = experts.indices.filter {
            $0 != rank && $0 != kept && experts[$0].count <= room[$0]
                && !experts[$0].contains(expert)
        }
        func free(_ other: Int) -> Int { room[other] - experts[other].count }
        let taker = others.filter { free($0) > 0 }.max { (free($0), $1) < (free($1), $0) }
        guard
            let taker = taker
                ?? others.first(where: { experts[$0].contains { counts[$0.rawValue] > 1 } })
        else { return false }
        if free(taker) == 0, !drop(from: taker) { return false }
        experts[rank].removeLast()
        experts[taker].append(expert)
        return true
    }
}
