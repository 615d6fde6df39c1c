/// The copies of one layer while single moves make it better. Its tokens are dealt between
/// the copies after each.
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
    /// The node of each rank that moves may not leave; nil where they may go anywhere.
    private let nodes: [NodeID]?
    /// The experts of each rank in local order.
    private var experts: [[Int]]
    /// Who holds each expert, and what each rank takes.
    private var dealing: CopyDealing
    let mean: Double
    /// The copies where they are now.
    private(set) var placement: ExpertPlacement
    /// What the busiest rank takes.
    private(set) var highest: Double

    /// Begins with the copies as they are; their tokens are dealt anew where that is worth it.
    init(_ placement: ExpertPlacement, loads: [Double], slots: [Int], nodes: [NodeID]? = nil) throws
    {
        self.loads = loads
        self.slots = slots
        self.nodes = nodes
        experts = placement.expertsByRank.map { $0.map(\.rawValue) }
        dealing = CopyDealing(placement, loads: loads)
        mean = dealing.rankLoads.reduce(0, +) / Double(max(1, slots.count))
        self.placement = mean > 0 ? try Rebalancing.dealt(placement, loads: loads) : placement
        highest = RankLoads(self.placement, loads: loads).highest
    }

    /// The step that lowers the layer's cost most per move; nil where none does by
    /// `Rebalancing.leastGain` of the mean in the end.
    func bestStep() -> Step? {
        let rankLoads = dealing.rankLoads
        guard mean > 0, let busiest = rankLoads.indices.max(by: { rankLoads[$0] < rankLoads[$1] }),
            rankLoads[busiest] > (1 + Rebalancing.leastGain) * mean
        else { return nil }
        let before = cost(rankLoads)
        var best: Step?
        func consider(_ edits: [Edit], _ loads: [Double]) {
            let step = Step(edits: edits, gain: before - cost(loads))
            guard step.gain > Self.leastStep * mean else { return }
            if step.gainPerMove > best?.gainPerMove ?? 0 { best = step }
        }
        for rank in experts.indices
        where rank != busiest && nodes?[rank] == nodes?[busiest] {
            let redundant = experts[rank].filter { dealing.holders[$0].count > 1 }
            let hasRoom = experts[rank].count < slots[rank]
            for expert in experts[busiest] where !dealing.holders[expert].contains(rank) {
                if hasRoom {
                    let edit = Edit(rank: rank, removed: nil, added: expert)
                    consider([edit], after(edit))
                }
                for other in redundant {
                    let edit = Edit(rank: rank, removed: other, added: expert)
                    consider([edit], after(edit))
                }
                for other in experts[rank] where !dealing.holders[other].contains(busiest) {
                    // Nothing but a heavier copy for a lighter one relieves the busiest rank.
                    let given =
                        dealing.part(expert, on: busiest) - dealing.part(other, on: rank)
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
        var result = dealing.rankLoads
        if let removed = edit.removed {
            deal(removed, to: dealing.holders[removed].filter { $0 != edit.rank }, &result)
        }
        deal(edit.added, to: dealing.holders[edit.added] + [edit.rank], &result)
        return result
    }

    /// Takes the tokens of an expert from those that hold it, and deals them to others.
    private func deal(_ expert: Int, to ranks: [Int], _ result: inout [Double]) {
        for (rank, part) in zip(dealing.holders[expert], dealing.parts[expert]) {
            result[rank] -= part
        }
        let level = CopyDealing.level(loads[expert], over: ranks.map { result[$0] })
        for rank in ranks { result[rank] = max(result[rank], level) }
    }

    mutating func apply(_ step: Step) throws {
        for edit in step.edits {
            if let removed = edit.removed,
                let place = experts[edit.rank].firstIndex(of: removed)
            {
                experts[edit.rank][place] = edit.added
            } else {
                experts[edit.rank].append(edit.added)
            }
        }
        if let edit = step.edits.first, let removed = edit.removed, step.edits.count == 2 {
            dealing.move(edit.added, from: step.edits[1].rank, to: edit.rank)
            dealing.move(removed, from: edit.rank, to: step.edits[1].rank)
        } else {
            for edit in step.edits {
                if let removed = edit.removed { dealing.remove(removed, from: edit.rank) }
                dealing.add(edit.added, to: edit.rank)
            }
        }
        dealing.settle()
        let held = experts.map { $0.map { ExpertID(rawValue: $0) } }
        let hasCopies = dealing.holders.contains { $0.count > 1 }
        placement = try ExpertPlacement(
            expertCount: loads.count, expertsByRank: held,
            shares: hasCopies ? dealing.shares(of: held) : nil)
        highest = RankLoads(placement, loads: loads).highest
    }
}
