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
        // Without load all are equally busy, and an expert that is everywhere is no more.
        if slots.count < 2 { return counts }
        while left > 0 {
            var busiest = 0
            for index in shares.indices where shares[index] > shares[busiest] { busiest = index }
            guard shares[busiest] >= 0 else { break }
            counts[busiest] += 1
            shares[busiest] =
                counts[busiest] < slots.count ? loads[busiest] / Double(counts[busiest]) : -1
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
        // A pack without room takes nothing: no other is heavier.
        var packLoads = slots.map { $0 > 0 ? 0 : Double.infinity }
        // A slot that is kept free for every expert which has no copy yet.
        var free = slots.reduce(0, +)
        for (place, expert) in order.enumerated() {
            let waiting = order.count - place - 1
            // The packs that it is in, with their loads: they take no other copy of it.
            var taken: [(pack: Int, load: Double)] = []
            for copy in 0 ..< counts[expert] {
                var lightest = 0
                for pack in packLoads.indices where packLoads[pack] < packLoads[lightest] {
                    lightest = pack
                }
                guard packLoads[lightest] < .infinity, copy == 0 || free > waiting else { break }
                packs[lightest].append(expert)
                let isFull = packs[lightest].count == slots[lightest]
                let load = isFull ? .infinity : packLoads[lightest] + shares[expert]
                taken.append((lightest, load))
                packLoads[lightest] = .infinity
                free -= 1
            }
            for (pack, load) in taken { packLoads[pack] = load }
        }
        return packs
    }

    /// The rank of each pack: of those with as many slots the one that holds most of it already,
    /// the fullest agreement first.
    private func names(of packs: [[Int]], near current: ExpertPlacement) -> [Int] {
        var holders = [[Int]](repeating: [], count: loads.count)
        for (rank, experts) in current.expertsByRank.enumerated() {
            for expert in experts { holders[expert.rawValue].append(rank) }
        }
        // Pairs of pack and rank, in order, by how many copies would stay.
        var pairs = [[Int]](repeating: [], count: (slots.max() ?? 0) + 1)
        var kept = [Int](repeating: 0, count: slots.count)
        for pack in packs.indices {
            for expert in packs[pack] { for rank in holders[expert] { kept[rank] += 1 } }
            for rank in slots.indices {
                if slots[rank] == slots[pack] {
                    pairs[kept[rank]].append(pack * slots.count + rank)
                }
                kept[rank] = 0
            }
        }
        var names = [Int](repeating: -1, count: packs.count)
        var isTaken = [Bool](repeating: false, count: slots.count)
        for pair in pairs.reversed().joined() {
            let (pack, rank) = pair.quotientAndRemainder(dividingBy: slots.count)
            guard names[pack] < 0, !isTaken[rank] else { continue }
            names[pack] = rank
            isTaken[rank] = true
        }
        return names
    }
}
