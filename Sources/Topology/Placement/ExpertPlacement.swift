/// Which physical experts each rank holds.
///
/// A physical expert is one loaded copy of a logical one. Ranks may hold different numbers of
/// them, and popular experts may have copies on several ranks.
///
/// Invariant: every logical expert has at least one copy, and no rank holds two of the same.
public struct ExpertPlacement: Hashable, Codable, Sendable {
    /// Routed experts of the model (`n_routed_experts`).
    public let expertCount: Int
    /// For each rank, the logical expert behind each physical one, in the order the rank holds
    /// them: a position in this list is the rank's *local expert index*.
    public let expertsByRank: [[ExpertID]]

    /// Checks that every expert is placed.
    public init(expertCount: Int, expertsByRank: [[ExpertID]]) throws {
        self.expertCount = expertCount
        self.expertsByRank = expertsByRank
        var placed = [Bool](repeating: false, count: max(0, expertCount))
        for (rank, experts) in expertsByRank.enumerated() {
            for expert in experts {
                guard placed.indices.contains(expert.rawValue) else {
                    throw PlacementError.unknownExpert(expert, expertCount: expertCount)
                }
                placed[expert.rawValue] = true
            }
            guard Set(experts).count == experts.count else {
                throw PlacementError.copiesOnOneRank(Rank(rawValue: rank))
            }
        }
        if let missing = placed.firstIndex(of: false) {
            throw PlacementError.notPlaced(ExpertID(rawValue: missing))
        }
    }

    /// One copy of each expert, in order, as evenly as the counts allow: where they do not
    /// divide, the first ranks hold one more.
    public static func contiguous(expertCount: Int, rankCount: Int) throws -> ExpertPlacement {
        guard rankCount >= 1, rankCount <= expertCount else {
            throw PlacementError.moreRanksThanExperts(ranks: rankCount, experts: expertCount)
        }
        let (share, more) = expertCount.quotientAndRemainder(dividingBy: rankCount)
        var next = 0
        let experts = (0 ..< rankCount).map { rank in
            let count = share + (rank < more ? 1 : 0)
            defer { next += count }
            return (next ..< next + count).map { ExpertID(rawValue: $0) }
        }
        return try ExpertPlacement(expertCount: expertCount, expertsByRank: experts)
    }

    /// One copy of each expert on the ranks of a group that live, numbered anew in their order.
    ///
    /// A rank that lives keeps what it had in `contiguous`, and the experts of the others go, in
    /// order, each to the rank that holds the fewest. The result depends on who lives alone: a rank
    /// that comes back computes it without knowing what happened meanwhile.
    ///
    /// - Parameters:
    ///   - rankCount: Ranks of the group when all live.
    ///   - living: Those that live, in order, numbered as in the group.
    /// - Throws: `PlacementError`, also for a rank that is not one of the group.
    package static func remaining(
        expertCount: Int, rankCount: Int, living: [Rank]
    ) throws -> ExpertPlacement {
        let whole = try contiguous(expertCount: expertCount, rankCount: rankCount)
        if let unknown = living.first(where: { !(0 ..< rankCount).contains($0.rawValue) }) {
            throw PlacementError.unknownRank(unknown, rankCount: rankCount)
        }
        guard !living.isEmpty else { throw PlacementError.notPlaced(ExpertID(rawValue: 0)) }
        var experts = living.map { whole.experts(on: $0) }
        for rank in 0 ..< rankCount where !living.contains(Rank(rawValue: rank)) {
            for expert in whole.experts(on: Rank(rawValue: rank)) {
                let fewest = experts.indices.min { experts[$0].count < experts[$1].count }
                experts[fewest ?? 0].append(expert)
            }
        }
        return try ExpertPlacement(expertCount: expertCount, expertsByRank: experts)
    }

    /// How many ranks share the experts (the EP size).
    public var rankCount: Int { expertsByRank.count }

    /// The experts that a rank holds, in local order.
    public func experts(on rank: Rank) -> [ExpertID] { expertsByRank[rank.rawValue] }

    /// The largest number of copies on one rank: what per-rank memory is sized for.
    package var largestLocalCount: Int { expertsByRank.map(\.count).max() ?? 0 }

    /// The lowest expert whose copies are all on other ranks than these.
    func firstExpert(without ranks: Set<Rank>) -> ExpertID? {
        var isHeld = [Bool](repeating: false, count: expertCount)
        for rank in ranks {
            for expert in experts(on: rank) { isHeld[expert.rawValue] = true }
        }
        return isHeld.firstIndex(of: false).map { ExpertID(rawValue: $0) }
    }

    /// Physical experts in all.
    package var physicalExpertCount: Int { expertsByRank.reduce(0) { $0 + $1.count } }
}

extension ExpertPlacement {
    private enum CodingKeys: String, CodingKey { case expertCount, expertsByRank }

    /// Reads a placement and checks it as the initialiser does.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        try self.init(
            expertCount: values.decode(Int.self, forKey: .expertCount),
            expertsByRank: values.decode([[ExpertID]].self, forKey: .expertsByRank))
    }
}
