/// The copies of one layer while single moves make it better.
struct LayerBalance {
    /// A rank reads one expert and lets go of another.
    struct Edit: Hashable {
        let rank: Int
        let removed: Int?
        let added: Int
    }

    /// Edits that belong together.
    struct Step {
        let edits: [Edit]
        /// In tokens of the busiest rank.
        let gain: Double

        var moveCount: Int { edits.count }
        var gainPerMove: Double { gain / Double(edits.count) }
    }

    private let loads: [Double]
    private let slots: [Int]
    /// The experts of each rank in local order.
    private var experts: [[Int]]
    /// The ranks that hold each expert.
    private var holders: [[Int]]
    private var rankLoads: [Double]
    let mean: Double

    init(_ placement: ExpertPlacement, loads: [Double], slots: [Int]) {
        self.loads = loads
        self.slots = slots
        experts = placement.expertsByRank.map { $0.map(\.rawValue) }
        holders = Array(repeating: [], count: loads.count)
        for (rank, held) in experts.enumerated() {
            for expert in held { holders[expert].append(rank) }
        }
        rankLoads = RankLoads(placement, loads: loads).values
        mean = rankLoads.reduce(0, +) / Double(max(1, rankLoads.count))
    }

    var highest: Double { rankLoads.max() ?? 0 }

    func placement() throws -> ExpertPlacement {
        try ExpertPlacement(
            expertCount: loads.count,
            expertsByRank: experts.map { $0.map { ExpertID(rawValue: $0) } })
    }

    private func share(_ expert: Int) -> Double { loads[expert] / Double(holders[expert].count) }

    /// The step that lowers the layer's cost most per move; nil where none does by
    /// `Rebalancing.leastGain` of the mean in the end.
    func bestStep() -> Step? {
        guard mean > 0, let busiest = rankLoads.indices.max(by: { rankLoads[$0] < rankLoads[$1] }),
            highest > (1 + Rebalancing.leastGain) * mean
        else { return nil }
        let before = cost(rankLoads)
        var best: Step?
        func consider(_ edits: [Edit], _ loads: [Double]) {
            let step = Step(edits: edits, gain: before - cost(loads))
            guard step.gain > Self.leastStep * mean else { return }
            if step.gainPerMove > best?.gainPerMove ?? 0 { best = step }
        }
        for rank in experts.indices where rank != busiest {
            let redundant = experts[rank].filter { holders[$0].count > 1 }
            let hasRoom = experts[rank].count < slots[rank]
            for expert in experts[busiest] where !holders[expert].contains(rank) {
                if hasRoom {
                    let edit = Edit(rank: rank, removed: nil, added: expert)
                    consider([edit], after(edit))
                }
                for other in redundant {
                    let edit = Edit(rank: rank, removed: other, added: expert)
                    consider([edit], after(edit))
                }
                for other in experts[rank] where !holders[other].contains(busiest) {
                    // Nothing but a heavier copy for a lighter one relieves the busiest rank.
                    let given = share(expert) - share(other)
                    guard given > 0 else { continue }
                    var loads = rankLoads
                    loads[busiest] -= given
                    loads[rank] += given
                    consider(
                        [
                            Edit(rank: rank, removed: other, added: expert),
                            Edit(rank: busiest, removed: expert, added: other),
                        ], loads)
                }
            }
        }
        return best
    }

    /// Below this part of the mean a step is noise.
    private static let leastStep = 1e-4

    /// What a layer costs: its busiest rank, and a little of how uneven the others are, so that a
    /// step is worth something where two ranks are equally busy.
    private func cost(_ loads: [Double]) -> Double {
        var highest = 0.0
        var squares = 0.0
        for load in loads {
            highest = max(highest, load)
            squares += (load - mean) * (load - mean)
        }
        return highest + 0.05 * (squares / Double(loads.count)).squareRoot()
    }

    /// The loads of the ranks after an edit that changes how many copies two experts have.
    private func after(_ edit: Edit) -> [Double] {
        var result = rankLoads
        if let removed = edit.removed {
            let count = Double(holders[removed].count)
            let (old, new) = (loads[removed] / count, loads[removed] / (count - 1))
            for rank in holders[removed] { result[rank] += new - old }
            result[edit.rank] -= new
        }
        let count = Double(holders[edit.added].count)
        let (old, new) = (loads[edit.added] / count, loads[edit.added] / (count + 1))
        for rank in holders[edit.added] { result[rank] += new - old }
        result[edit.rank] += new
        return result
    }

    mutating func apply(_ step: Step) {
        for edit in step.edits {
            if let removed = edit.removed {
                holders[removed].removeAll { $0 == edit.rank }
                if let place = experts[edit.rank].firstIndex(of: removed) {
                    experts[edit.rank][place] = edit.added
                }
            } else {
                experts[edit.rank].append(edit.added)
            }
            holders[edit.added].append(edit.rank)
        }
        rankLoads = experts.map { held in held.reduce(0) { $0 + share($1) } }
    }
}
