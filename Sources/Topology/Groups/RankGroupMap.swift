/// Which ranks of a job form which group.
///
/// Invariants:
/// 1. Every rank of the job belongs to exactly one group.
/// 2. A group holds consecutive ranks, and groups follow each other in the order of the job.
public struct RankGroupMap: Hashable, Sendable {
    /// The groups, in order of their ranks.
    public let groups: [RankGroup]

    /// A map of these groups.
    ///
    /// - Throws: `TopologyError.groups` with the group, the value and the limit.
    public init(_ groups: [RankGroup]) throws(TopologyError) {
        guard !groups.isEmpty else { throw .groups("groups is empty: a job has at least one") }
        var names: Set<String> = []
        for (index, group) in groups.enumerated() {
            guard !group.name.isEmpty else { throw .groups("groups[\(index)].name is empty") }
            guard names.insert(group.name).inserted else {
                throw .groups("groups[\(index)].name \"\(group.name)\" names another group too")
            }
            guard (1 ... Rank.maximumCount).contains(group.rankCount) else {
                throw .groups(
                    "groups[\(index)].ranks \(group.rankCount) is not 1 to \(Rank.maximumCount)")
            }
        }
        self.groups = groups
        guard rankCount <= Rank.maximumCount else {
            throw .groups(
                "the groups have \(rankCount) ranks: a job has at most \(Rank.maximumCount)")
        }
    }

    private init(only group: RankGroup) { groups = [group] }

    /// One group of all ranks, named after its role.
    public static func one(_ role: RankRole, rankCount: Int) -> RankGroupMap {
        RankGroupMap(
            only: RankGroup(name: role.rawValue, role: role, rankCount: rankCount))
    }

    /// The ranks of all groups.
    public var rankCount: Int { groups.reduce(0) { $0 + $1.rankCount } }

    /// Whether prompts are computed by other ranks than their texts.
    public var handsOver: Bool {
        groups.contains { $0.role == .prefill } && groups.contains { $0.role == .decode }
    }

    /// The group of a rank, and its ranks in order.
    public func group(of rank: Rank) -> (group: RankGroup, members: [Rank]) {
        var first = 0
        for group in groups {
            if (first ..< first + group.rankCount).contains(rank.rawValue) {
                let members = (first ..< first + group.rankCount).map { Rank(rawValue: $0) }
                return (group, members)
            }
            first += group.rankCount
        }
        preconditionFailure("\(rank) is in no group: the job has \(rankCount) ranks")
    }
}
