/// How many tokens of a layer each copy of an expert takes, so that the busiest rank has the least
/// to do.
///
/// Expert by expert, its tokens are poured anew over the ranks that hold it, where the least is,
/// until nothing moves any more. The sum of the squares of all ranks' loads falls with each
/// pouring, and it has one minimum, which is the one of the busiest rank too.
struct CopyDealing {
    let loads: [Double]
    /// The ranks that hold each expert.
    private(set) var holders: [[Int]]
    /// What each of them takes, in tokens.
    private(set) var parts: [[Double]]
    /// What each rank takes.
    private(set) var rankLoads: [Double]

    /// A share moves by less than this part of the mean in the last round.
    private static let tolerance = 1e-5
    /// After so many rounds, what is left to gain is noise.
    private static let mostRounds = 64

    /// Deals the tokens of a layer over the copies that there are.
    init(_ placement: ExpertPlacement, loads: [Double]) {
        self.loads = loads
        holders = Array(repeating: [], count: loads.count)
        for (rank, experts) in placement.expertsByRank.enumerated() {
            for expert in experts { holders[expert.rawValue].append(rank) }
        }
        parts = zip(holders, loads).map { holders, load in
            Array(repeating: load / Double(max(1, holders.count)), count: holders.count)
        }
        rankLoads = Array(repeating: 0, count: placement.rankCount)
        settle()
    }

    /// Pours until nothing moves.
    mutating func settle() {
        sum()
        let copied = holders.indices.filter { holders[$0].count > 1 && loads[$0] > 0 }
        let mean = rankLoads.reduce(0, +) / Double(max(1, rankLoads.count))
        for _ in 0 ..< Self.mostRounds {
            var moved = 0.0
            for expert in copied { moved = max(moved, pour(expert)) }
            if moved <= Self.tolerance * mean { break }
        }
        // Sums of differences drift.
        sum()
    }

    /// What a rank takes of an expert that it holds.
    func part(_ expert: Int, on rank: Int) -> Double {
        holders[expert].firstIndex(of: rank).map { parts[expert][$0] } ?? 0
    }

    /// Another rank holds a copy, and takes what it took.
    mutating func move(_ expert: Int, from old: Int, to new: Int) {
        guard let place = holders[expert].firstIndex(of: old) else { return }
        holders[expert][place] = new
        rankLoads[old] -= parts[expert][place]
        rankLoads[new] += parts[expert][place]
    }

    /// A rank more holds an expert.
    mutating func add(_ expert: Int, to rank: Int) {
        holders[expert].append(rank)
        parts[expert].append(0)
        _ = pour(expert)
    }

    /// A rank lets go of an expert that others hold.
    mutating func remove(_ expert: Int, from rank: Int) {
        guard let place = holders[expert].firstIndex(of: rank) else { return }
        rankLoads[rank] -= parts[expert][place]
        holders[expert].remove(at: place)
        parts[expert].remove(at: place)
        _ = pour(expert)
    }

    /// The part of its expert's tokens that each copy takes, of `ExpertPlacement.whole`.
    ///
    /// - Parameter experts: Of each rank, in local order.
    func shares(of experts: [[ExpertID]]) -> [[Int]] {
        let shares = parts.map { $0.count > 1 ? ExpertPlacement.shares($0) : [] }
        return experts.enumerated().map { rank, held in
            held.map { expert in
                if shares[expert.rawValue].isEmpty { return ExpertPlacement.whole }
                let place = holders[expert.rawValue].firstIndex(of: rank) ?? 0
                return shares[expert.rawValue][place]
            }
        }
    }

    /// The level up to which so many tokens fill ranks that have some already.
    static func level(_ tokens: Double, over loads: [Double]) -> Double {
        let sorted = loads.sorted()
        var sum = 0.0
        for (count, load) in sorted.enumerated() {
            let level = (tokens + sum) / Double(max(1, count))
            if count > 0, level <= load { return level }
            sum += load
        }
        return (tokens + sum) / Double(max(1, sorted.count))
    }

    private mutating func sum() {
        for rank in rankLoads.indices { rankLoads[rank] = 0 }
        for (ranks, parts) in zip(holders, parts) {
            for (rank, part) in zip(ranks, parts) { rankLoads[rank] += part }
        }
    }

    /// - Returns: The largest change of a part.
    private mutating func pour(_ expert: Int) -> Double {
        if holders[expert].count == 2 { return pourOverTwo(expert) }
        let others = zip(holders[expert], parts[expert]).map { rankLoads[$0] - $1 }
        let level = Self.level(loads[expert], over: others)
        var moved = 0.0
        for (place, rank) in holders[expert].enumerated() {
            let part = max(0, level - others[place])
            moved = max(moved, abs(part - parts[expert][place]))
            parts[expert][place] = part
            rankLoads[rank] = others[place] + part
        }
        return moved
    }

    /// `pour` for an expert with two copies, as most with copies have: it allocates nothing.
    private mutating func pourOverTwo(_ expert: Int) -> Double {
        let (first, second) = (holders[expert][0], holders[expert][1])
        let (one, two) = (parts[expert][0], parts[expert][1])
        let (low, high) = (rankLoads[first] - one, rankLoads[second] - two)
        let alone = loads[expert] + min(low, high)
        let level = alone <= max(low, high) ? alone : (loads[expert] + (low + high)) / 2
        let (newOne, newTwo) = (max(0, level - low), max(0, level - high))
        parts[expert][0] = newOne
        parts[expert][1] = newTwo
        rankLoads[first] = low + newOne
        rankLoads[second] = high + newTwo
        return max(abs(newOne - one), abs(newTwo - two))
    }
}

extension ExpertPlacement {
    /// The same copies, their tokens dealt so that the busiest rank has the least.
    ///
    /// Without load, or where no expert has two copies, nothing says how: copies share equally.
    ///
    /// - Parameter loads: Tokens of each expert, finite and at least 0.
    public func dealt(loads: [Double]) throws -> ExpertPlacement {
        let isDealt = physicalExpertCount > expertCount && loads.contains { $0 > 0 }
        return try ExpertPlacement(
            expertCount: expertCount, expertsByRank: expertsByRank,
            shares: isDealt
                ? CopyDealing(self, loads: loads).shares(of: expertsByRank) : nil)
    }
}
