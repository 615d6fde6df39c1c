/// EPLB's global policy for ranks with any numbers of slots: how many copies each expert of a layer
/// gets, and which rank holds them.
///
/// It differs from the published code where that wastes memory: no expert gets more copies than
/// there are ranks, and no rank two of one expert.
///
/// Source: EPLB, `rebalance_experts_hierarchical` with one group and one node.
struct ExpertPacking {
    /// Tokens of each expert, at least 0.
    private let loads: [Double]
    /// Copies that each rank has room for.
    private let slots: [Int]

    /// - Throws: `TopologyError.balancing` where the slots are too few for the experts.
    init(loads: [Double], slots: [Int]) throws(TopologyError) {
        let count = slots.reduce(0, +)
        guard count >= loads.count else {
            throw .balancing("\(count) slots are too few for \(loads.count) experts")
        }
        self.loads = loads
        self.slots = slots
    }

    /// The placement, its ranks named so that many copies stay where they are.
    func placement(near current: ExpertPlacement) throws -> ExpertPlacement {
        let packs = packs()
        let names = names(of: packs, near: current)
        var experts = [[ExpertID]](repeating: [], count: slots.count)
        for (pack, rank) in names.enumerated() {
            experts[rank] = packs[pack].sorted().map { ExpertID(rawValue: $0) }
        }
        return try ExpertPlacement(expertCount: loads.count, expertsByRank: experts)
    }

    /// Copies of each expert: one more at a time for the expert whose copies carry most.
    private func copyCounts() -> [Int] {
        var counts = [Int](repeating: 1, count: loads.count)
        var shares = loads
        var left = slots.reduce(0, +) - loads.count
        while left > 0 {
            var busiest: Int?
            for index in shares.indices where counts[index] < slots.count {
                if busiest.map({ shares[index] > shares[$0] }) ?? true { busiest = index }
            }
            guard let busiest else { break }
            counts[busiest] += 1
            shares[busiest] = loads[busiest] / Double(counts[busiest])
            left -= 1
        }
        return counts
    }

    /// The experts of each rank: the heaviest copy first, each to the lightest rank that has room
    /// and no copy of its expert yet.
    private func packs() -> [[Int]] {
        let counts = copyCounts()
        let shares = loads.indices.map { loads[$0] / Double(counts[$0]) }
        let order = loads.indices.sorted { (shares[$1], $0) < (shares[$0], $1) }
        var packs = [[Int]](repeating: [], count: slots.count)
        var packLoads = [Double](repeating: 0, count: slots.count)
        // A slot that is kept free for every expert which has no copy yet.
        var free = slots.reduce(0, +)
        for (place, expert) in order.enumerated() {
            let waiting = order.count - place - 1
            for copy in 0 ..< counts[expert] {
                var lightest: Int?
                for pack in packs.indices
                where packs[pack].count < slots[pack]
                    && !(copy > 0 && packs[pack].contains(expert))
                {
                    if lightest.map({ packLoads[pack] < packLoads[$0] }) ?? true {
                        lightest = pack
                    }
                }
                guard let lightest, copy == 0 || free > waiting else { break }
                packs[lightest].append(expert)
                packLoads[lightest] += shares[expert]
                free -= 1
            }
        }
        return packs
    }

    /// The rank of each pack: of those with as many slots the one that holds most of it already,
    /// the fullest agreement first.
    private func names(of packs: [[Int]], near current: ExpertPlacement) -> [Int] {
        var holds = [[Bool]](
            repeating: Array(repeating: false, count: loads.count), count: slots.count)
        for (rank, experts) in current.expertsByRank.enumerated() {
            for expert in experts { holds[rank][expert.rawValue] = true }
        }
        var pairs: [(kept: Int, pack: Int, rank: Int)] = []
        for pack in packs.indices {
            for rank in slots.indices where slots[rank] == slots[pack] {
                pairs.append((packs[pack].count { holds[rank][$0] }, pack, rank))
            }
        }
        pairs.sort { ($1.kept, $0.pack, $0.rank) < ($0.kept, $1.pack, $1.rank) }
        var names = [Int](repeating: -1, count: packs.count)
        var isTaken = [Bool](repeating: false, count: slots.count)
        for pair in pairs where names[pair.pack] < 0 && !isTaken[pair.rank] {
            names[pair.pack] = pair.rank
            isTaken[pair.rank] = true
        }
        return names
    }
}
