public import Topology

/// Where the experts of a job are, and how much each is used: what `apus placement` is told.
public struct PlacementReport: Hashable, Codable, Sendable {
    /// The ranks that share one copy of the model.
    public struct Group: Hashable, Codable, Sendable {
        /// The group's name.
        public var name: String
        /// Its ranks, the lost ones included, numbered as in the job.
        public var ranks: [Rank]
        /// Copies of a layer that each of them has room for.
        public var slots: [Int]
        /// One per layer, of all ranks.
        public var placements: [ExpertPlacement]
        /// `[layers][experts]`, tokens; older ones count less.
        public var loads: [[Double]]
        /// The ranks that take part.
        public var living: [Rank] = []
        /// The node of each of its ranks.
        public var nodes: [String]?
        /// Groups that the experts of a layer make for its gate (`n_group`).
        public var expertGroupCount: Int?
        /// The epoch that they were told last.
        public var epoch: UInt64 = 0
        /// The epoch for which ranks read experts now.
        public var preparing: UInt64?
        /// The last placement that came to nothing.
        public var dropped: Dropped?

        init(
            name: String, ranks: [Rank], slots: [Int], placements: [ExpertPlacement],
            loads: [[Double]]
        ) {
            self.name = name
            self.ranks = ranks
            self.slots = slots
            self.placements = placements
            self.loads = loads
        }

        /// Where the ranks that live are, for the policy by node.
        public func nodePacking() -> NodePacking {
            NodePacking(
                names: zip(ranks, nodes ?? []).filter { living.contains($0.0) }.map(\.1),
                groupCount: expertGroupCount ?? 1)
        }

        /// The placements as the ranks that live see them.
        ///
        /// - Throws: `PlacementError` or `TopologyError.balancing` where no rank lives, or what a
        ///   file says does not belong together.
        public func livingPlacements() throws -> LivingPlacements {
            guard ranks.contains(where: living.contains) else {
                throw TopologyError.balancing(
                    "no rank of group \(name) lives: its experts are placed when one is back")
            }
            return try LivingPlacements(
                of: placements,
                living: ranks.indices.filter { living.contains(ranks[$0]) }
                    .map { Rank(rawValue: $0) }, slots: slots)
        }
    }

    /// A placement that came to nothing.
    public struct Dropped: Hashable, Codable, Sendable {
        /// The epoch that would have begun with it.
        public var epoch: UInt64
        /// Why.
        public var reason: String
    }

    /// Every group of the job.
    public var groups: [Group]
}

/// What `apus placement apply` asks for.
public struct PlacementRequest: Hashable, Codable, Sendable {
    /// The number of the group, from 0.
    public var group: Int
    /// The epoch that the placements were computed in; in another they are refused.
    public var epoch: UInt64
    /// One per layer, of all ranks of the group.
    public var placements: [ExpertPlacement]

    /// States a request.
    public init(group: Int, epoch: UInt64, placements: [ExpertPlacement]) {
        self.group = group
        self.epoch = epoch
        self.placements = placements
    }
}
