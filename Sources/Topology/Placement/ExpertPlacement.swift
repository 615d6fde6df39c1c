import Encoding

/// Which physical experts each rank holds.
///
/// A physical expert is one loaded copy of a logical one. Ranks may hold different numbers of
/// them, and popular experts may have copies on several ranks.
///
/// Invariants:
/// 1. Every logical expert has at least one copy, and no rank holds two of the same.
/// 2. The shares of an expert's copies, where they are stated, make a whole.
public struct ExpertPlacement: Hashable, Codable, Sendable {
    /// Routed experts of the model (`n_routed_experts`).
    public let expertCount: Int
    /// Far above any model; the copies of a rank are counted in 16 bits where tokens travel.
    package static let mostExperts = 1 << 16
    /// For each rank, the logical expert behind each physical one, in the order the rank holds
    /// them: a position in this list is the rank's *local expert index*.
    public let expertsByRank: [[ExpertID]]
    /// The part of its expert's tokens that each copy takes, of `whole`; nil where copies take
    /// turns.
    public let shares: [[Int]]?

    /// What the shares of an expert's copies add up to: fine beside the noise of what gates choose.
    @usableFromInline static let whole = 1 << 16

    /// Checks that every expert is placed, and that shares make a whole.
    public init(
        expertCount: Int, expertsByRank: [[ExpertID]], shares: [[Int]]? = nil
    ) throws {
        self.expertCount = expertCount
        self.expertsByRank = expertsByRank
        self.shares = shares
        // The last rank that was seen to hold each expert.
        var holders = [Int](repeating: -1, count: max(0, expertCount))
        for (rank, experts) in expertsByRank.enumerated() {
            var isTwice = false
            for expert in experts {
                guard holders.indices.contains(expert.rawValue) else {
                    throw PlacementError.unknownExpert(expert, expertCount: expertCount)
                }
                isTwice = isTwice || holders[expert.rawValue] == rank
                holders[expert.rawValue] = rank
            }
            if isTwice { throw PlacementError.copiesOnOneRank(Rank(rawValue: rank)) }
        }
        if let missing = holders.firstIndex(of: -1) {
            throw PlacementError.notPlaced(ExpertID(rawValue: missing))
        }
        guard let shares else { return }
        guard shares.count == expertsByRank.count,
            zip(shares, expertsByRank).allSatisfy({ $0.count == $1.count })
        else {
            throw PlacementError.shareCounts(shares.map(\.count))
        }
        var sums = [Int](repeating: 0, count: expertCount)
        for (expert, share) in zip(expertsByRank.joined(), shares.joined()) {
            guard (0 ... Self.whole).contains(share) else {
                throw PlacementError.share(expert, share)
            }
            sums[expert.rawValue] += share
        }
        if let expert = sums.firstIndex(where: { $0 != Self.whole }) {
            throw PlacementError.share(ExpertID(rawValue: expert), sums[expert])
        }
    }

    /// Every expert once, in order, and `redundantCount` copies more, as evenly as the counts
    /// allow: where they do not divide, the first ranks hold one more.
    ///
    /// A rank's copies beyond its own share are of the experts that follow it, as if the experts
    /// lay in a circle. Every rank of a group then has the same load where all experts have.
    ///
    /// - Parameter redundantCount: Copies beyond one of each expert, over all ranks.
    public static func contiguous(
        expertCount: Int, rankCount: Int, redundantCount: Int = 0
    ) throws -> ExpertPlacement {
        guard rankCount >= 1, rankCount <= expertCount else {
            throw PlacementError.moreRanksThanExperts(ranks: rankCount, experts: expertCount)
        }
        let most = expertCount * (rankCount - 1)
        guard (0 ... most).contains(redundantCount) else {
            throw PlacementError.redundant(redundantCount, limit: most, ranks: rankCount)
        }
        let own = Self.slots(of: expertCount, rankCount: rankCount)
        let slots = Self.slots(of: expertCount + redundantCount, rankCount: rankCount)
        var first = 0
        let experts = (0 ..< rankCount).map { rank in
            defer { first += own[rank] }
            return (first ..< first + slots[rank]).map { ExpertID(rawValue: $0 % expertCount) }
        }
        return try ExpertPlacement(expertCount: expertCount, expertsByRank: experts)
    }

    /// How many copies of a layer each rank has room for, of so many over all ranks: as evenly as
    /// they divide, the first ranks one more.
    private static func slots(of copyCount: Int, rankCount: Int) -> [Int] {
        let (share, more) = copyCount.quotientAndRemainder(dividingBy: rankCount)
        return (0 ..< rankCount).map { share + ($0 < more ? 1 : 0) }
    }

    /// The copies on the ranks of a group that live, numbered anew in their order.
    ///
    /// A rank that lives keeps what it has. An expert of which no copy is left goes to the first
    /// rank, in an order of its own over all ranks, that lives and holds fewer than the mean,
    /// rounded up: none takes more than an even dealing gives it.
    ///
    /// The result depends on who lives alone: a rank that comes back, and a coordinator that takes
    /// the job over, compute it without knowing what happened meanwhile. Because each expert has
    /// its order, most of them stay where they are when another rank leaves or returns.
    ///
    /// - Parameter living: Those that live, in order, numbered as in the group.
    /// - Throws: `PlacementError`, also for a rank that is not one of the group.
    ///
    /// Source: Thaler, Ravishankar, "Using name-based mappings to increase hit rates" (1998), for
    /// the orders; Mirrokni, Thorup, Zadimoghaddam, "Consistent hashing with bounded loads"
    /// (2018), for the bound.
    package func remaining(on living: [Rank]) throws -> ExpertPlacement {
        if let unknown = living.first(where: { !(0 ..< rankCount).contains($0.rawValue) }) {
            throw PlacementError.unknownRank(unknown, rankCount: rankCount)
        }
        guard !living.isEmpty else { throw PlacementError.notPlaced(ExpertID(rawValue: 0)) }
        var left = living.map { experts(on: $0) }
        var isHeld = [Bool](repeating: false, count: expertCount)
        for expert in left.joined() { isHeld[expert.rawValue] = true }
        let missing = isHeld.indices.filter { !isHeld[$0] }
        let copyCount = left.reduce(missing.count) { $0 + $1.count }
        let bound = (copyCount + living.count - 1) / living.count
        for expert in missing {
            let taker = left.indices.filter { left[$0].count < bound }.min {
                Self.place(of: living[$0], for: expert) < Self.place(of: living[$1], for: expert)
            }
            guard let taker else { preconditionFailure("\(left) are full: the bound is \(bound)") }
            left[taker].append(ExpertID(rawValue: expert))
        }
        return try ExpertPlacement(
            expertCount: expertCount, expertsByRank: left,
            shares: shares.map { _ in shares(of: left, living: living) })
    }

    /// Where a rank stands in an expert's order: the lowest comes first.
    private static func place(of rank: Rank, for expert: Int) -> UInt64 {
        SplitMix64.mix(SplitMix64.mix(UInt64(expert)) &+ UInt64(rank.rawValue))
    }

    /// What the copies that are left take: the shares that they had, enlarged; equal ones where
    /// they had none.
    private func shares(of left: [[ExpertID]], living: [Rank]) -> [[Int]] {
        var parts = [[Double]](repeating: [], count: expertCount)
        for (rank, experts) in zip(living, left) {
            let had = shares?[rank.rawValue] ?? []
            for (place, expert) in experts.enumerated() {
                parts[expert.rawValue].append(had.indices.contains(place) ? Double(had[place]) : 0)
            }
        }
        var taken = [Int](repeating: 0, count: expertCount)
        let whole = parts.map(Self.shares)
        return left.map { experts in
            experts.map { expert in
                defer { taken[expert.rawValue] += 1 }
                return whole[expert.rawValue][taken[expert.rawValue]]
            }
        }
    }

    /// Parts of any size as parts of `whole`; equal ones where all are 0.
    static func shares(_ parts: [Double]) -> [Int] {
        let sum = parts.reduce(0, +)
        var (passed, given) = (0.0, 0)
        return parts.indices.map { place in
            passed += sum > 0 ? parts[place] / sum : 1 / Double(parts.count)
            let end = place == parts.count - 1 ? whole : Int((passed * Double(whole)).rounded())
            defer { given = max(given, end) }
            return max(0, end - given)
        }
    }

    /// Tells which rank holds which experts, in which order: 16 digits, however many there are.
    package var fingerprint: String {
        var fingerprint = Fingerprint()
        for experts in expertsByRank {
            fingerprint.add(experts.map { "\($0.rawValue)" }.joined(separator: " "))
        }
        return fingerprint.text
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
    private enum CodingKeys: String, CodingKey { case expertCount, expertsByRank, shares }

    /// Reads a placement and checks it as the initialiser does.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let count = try values.decode(Int.self, forKey: .expertCount)
        guard (1 ... Self.mostExperts).contains(count) else {
            throw DecodingError.dataCorruptedError(
                forKey: .expertCount, in: values,
                debugDescription: "\(count) experts are not 1 to \(Self.mostExperts)")
        }
        try self.init(
            expertCount: count,
            expertsByRank: values.decode([[ExpertID]].self, forKey: .expertsByRank),
            shares: values.decodeIfPresent([[Int]].self, forKey: .shares))
    }
}
