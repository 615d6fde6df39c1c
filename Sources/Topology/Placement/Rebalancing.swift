/// A better placement of a model's experts, and what it takes to get there.
///
/// Where groups of experts divide over the nodes it is the hierarchical policy of EPLB
/// (`NodePacking`), else the global one: experts share the ranks, wherever these are. A rank keeps
/// its slots: as many copies of each layer as it had room for when the job began. Tokens are dealt
/// between the copies (`CopyDealing`); that alone moves no expert.
public struct Rebalancing: Hashable, Sendable {
    /// A rank reads an expert of a layer.
    public struct Move: Hashable, Sendable {
        /// The layer.
        public let layer: Int
        /// The expert that is read.
        public let expert: ExpertID
        /// The rank that reads it.
        public let rank: Rank
        /// The expert that makes room; nil where there is room.
        public let instead: ExpertID?
        /// Moves that were chosen together have one number, from 0 in order.
        public let step: Int
        /// Max over mean of the layer's ranks after the step.
        public let layerImbalance: Double
        /// Max over mean of the whole model after the step.
        public let imbalance: Double
    }

    /// One per layer.
    public let placements: [ExpertPlacement]
    /// In the order in which they were chosen, or by layer where they are chosen together.
    public let moves: [Move]
    /// Max over mean of the model before.
    public let before: Double
    /// And after.
    public let after: Double

    /// A layer that gains less than this part of its mean keeps its copies where they are.
    static let leastGain = 0.005

    /// What EPLB makes of the loads, with as many copies kept in place as renaming ranks allows.
    ///
    /// - Parameters:
    ///   - current: One placement per layer.
    ///   - loads: `[layers][experts]`, tokens; a layer without any stays as it is.
    ///   - slots: Copies of a layer that each rank has room for.
    ///   - nodes: Where the ranks are; nil for the global policy.
    /// - Throws: `TopologyError.balancing` where these do not belong together.
    public static func balanced(
        from current: [ExpertPlacement], loads: [[Double]], slots: [Int],
        nodes: NodePacking? = nil
    ) throws -> Rebalancing {
        try check(current, loads, slots)
        let nodes = nodes.flatMap { $0.misfit(slots: slots) == nil ? $0 : nil }
        var next = current
        for layer in current.indices {
            let old = RankLoads(current[layer], loads: loads[layer])
            guard old.mean > 0 else { continue }
            next[layer] = try dealt(current[layer], loads: loads[layer])
            let packed =
                try nodes?.placement(loads: loads[layer], slots: slots, near: current[layer])
                ?? ExpertPacking(loads: loads[layer], slots: slots)
                .placement(near: current[layer])
            let moved = try packed.dealt(loads: loads[layer])
            let stays = RankLoads(next[layer], loads: loads[layer])
            let moves = RankLoads(moved, loads: loads[layer])
            if moves.highest < stays.highest - leastGain * old.mean { next[layer] = moved }
        }
        return Rebalancing(from: current, to: next, loads: loads)
    }

    /// The same copies, their tokens dealt anew where that is worth it.
    static func dealt(
        _ placement: ExpertPlacement, loads: [Double]
    ) throws -> ExpertPlacement {
        let old = RankLoads(placement, loads: loads)
        let dealt = try placement.dealt(loads: loads)
        let new = RankLoads(dealt, loads: loads)
        return new.highest < old.highest - leastGain * old.mean ? dealt : placement
    }

    /// What EPLB makes of the loads, but only of the layers that gain most per move, so that there
    /// are at most so many moves.
    ///
    /// It costs what `balanced` without a bound does. Where no whole layer fits, in a model of few
    /// layers, it is `bounded`.
    ///
    /// - Parameter maximumMoves: Experts of one layer that some rank reads.
    /// - Throws: `TopologyError.balancing` where these do not belong together.
    package static func balanced(
        from current: [ExpertPlacement], loads: [[Double]], slots: [Int], maximumMoves: Int,
        nodes: NodePacking? = nil
    ) throws -> Rebalancing {
        let whole = try balanced(from: current, loads: loads, slots: slots, nodes: nodes)
        guard whole.moves.count > maximumMoves else { return whole }
        var counts = [Int](repeating: 0, count: current.count)
        for move in whole.moves { counts[move.layer] += 1 }
        func worth(_ layer: Int) -> Double {
            let old = RankLoads(current[layer], loads: loads[layer]).highest
            let new = RankLoads(whole.placements[layer], loads: loads[layer]).highest
            return (old - new) / Double(counts[layer])
        }
        let changed = counts.indices.filter { counts[$0] > 0 }
            .map { (layer: $0, worth: worth($0)) }
        var next = try whole.placements.enumerated().map { layer, placement in
            counts[layer] == 0 ? placement : try dealt(current[layer], loads: loads[layer])
        }
        var left = maximumMoves
        for (layer, _) in changed.sorted(by: { ($1.worth, $0.layer) < ($0.worth, $1.layer) })
        where counts[layer] <= left {
            next[layer] = whole.placements[layer]
            left -= counts[layer]
        }
        guard left < maximumMoves else {
            return try bounded(
                from: current, loads: loads, slots: slots, maximumMoves: maximumMoves, nodes: nodes)
        }
        return Rebalancing(from: current, to: next, loads: loads)
    }

    /// The moves that buy most, one after the other, at most so many.
    ///
    /// Each step relieves the busiest rank of one layer, by one copy that another rank reads in
    /// place of a redundant one, or by an exchange of two. It is the step whose gain per move is
    /// the largest of all layers. With the hierarchical policy it stays inside a node.
    ///
    /// - Parameter maximumMoves: Experts of one layer that some rank reads.
    /// - Throws: `TopologyError.balancing` where these do not belong together.
    public static func bounded(
        from current: [ExpertPlacement], loads: [[Double]], slots: [Int], maximumMoves: Int,
        nodes: NodePacking? = nil
    ) throws -> Rebalancing {
        try check(current, loads, slots)
        guard maximumMoves >= 0 else {
            throw TopologyError.balancing("\(maximumMoves) moves are less than 0")
        }
        let places = nodes.flatMap { $0.misfit(slots: slots) == nil ? $0 : nil }
        var layers = try current.indices.map {
            try LayerBalance(
                current[$0], loads: loads[$0], slots: slots, nodes: places?.nodes)
        }
        let mean = layers.reduce(0) { $0 + $1.mean }
        var highest = layers.reduce(0) { $0 + $1.highest }
        var best = layers.map { $0.bestStep() }
        var moves: [Move] = []
        var step = 0
        while true {
            let left = maximumMoves - moves.count
            let fitting = best.indices.filter { (best[$0]?.moveCount ?? .max) <= left }
            func worth(_ layer: Int) -> Double { best[layer]?.gainPerMove ?? 0 }
            guard let layer = fitting.max(by: { (worth($0), $1) < (worth($1), $0) }),
                let chosen = best[layer]
            else { break }
            highest -= layers[layer].highest
            try layers[layer].apply(chosen)
            highest += layers[layer].highest
            for edit in chosen.edits {
                moves.append(
                    Move(
                        layer: layer, expert: ExpertID(rawValue: edit.added),
                        rank: Rank(rawValue: edit.rank),
                        instead: edit.removed.map { ExpertID(rawValue: $0) }, step: step,
                        layerImbalance: ratio(layers[layer].highest, layers[layer].mean),
                        imbalance: ratio(highest, mean)))
            }
            step += 1
            best[layer] = layers[layer].bestStep()
        }
        return Rebalancing(
            placements: layers.map(\.placement), moves: moves,
            before: imbalance(of: current, loads: loads), after: ratio(highest, mean))
    }

    /// Max over mean of the ranks of a model: all layers' highest loads over all layers' means,
    /// since every layer waits for its busiest rank. 1 is perfect, also without any load.
    public static func imbalance(of placements: [ExpertPlacement], loads: [[Double]]) -> Double {
        let layers = zip(placements, loads).map { RankLoads($0, loads: $1) }
        return ratio(
            layers.reduce(0) { $0 + $1.highest }, layers.reduce(0) { $0 + $1.mean })
    }

    /// What each rank carries, all layers together.
    public static func rankLoads(
        of placements: [ExpertPlacement], loads: [[Double]]
    ) -> [Double] {
        var sums = [Double](repeating: 0, count: placements.first?.rankCount ?? 0)
        for (placement, loads) in zip(placements, loads) {
            for (rank, load) in RankLoads(placement, loads: loads).values.enumerated() {
                sums[rank] += load
            }
        }
        return sums
    }

    private static func ratio(_ highest: Double, _ mean: Double) -> Double {
        mean > 0 ? highest / mean : 1
    }
}

extension Rebalancing {
    private enum Seen { case nowhere, before, after }

    /// The way from one placement to another, layer by layer.
    private init(from current: [ExpertPlacement], to next: [ExpertPlacement], loads: [[Double]]) {
        let after = Self.imbalance(of: next, loads: loads)
        var moves: [Move] = []
        for layer in next.indices where next[layer] != current[layer] {
            let imbalance = Self.imbalance(of: [next[layer]], loads: [loads[layer]])
            // Where each expert is seen on the rank that is compared.
            var place = [Seen](repeating: .nowhere, count: loads[layer].count)
            for (rank, experts) in next[layer].expertsByRank.enumerated() {
                let old = current[layer].expertsByRank[rank]
                for expert in old { place[expert.rawValue] = .before }
                let coming = experts.filter { place[$0.rawValue] == .nowhere }
                for expert in experts { place[expert.rawValue] = .after }
                var going = old.filter { place[$0.rawValue] == .before }.sorted()[...]
                for expert in old + experts { place[expert.rawValue] = .nowhere }
                for expert in coming {
                    moves.append(
                        Move(
                            layer: layer, expert: expert, rank: Rank(rawValue: rank),
                            instead: going.popFirst(), step: 0, layerImbalance: imbalance,
                            imbalance: after))
                }
            }
        }
        self.init(
            placements: next, moves: moves,
            before: Self.imbalance(of: current, loads: loads), after: after)
    }

    /// Sums of so many are exact enough, and finite.
    private static let mostTokens = 1e15

    /// Layers, experts and ranks of all three are as many, and loads are numbers.
    private static func check(
        _ placements: [ExpertPlacement], _ loads: [[Double]], _ slots: [Int]
    ) throws(TopologyError) {
        guard slots.count <= Rank.maximumCount else {
            throw .balancing("\(slots.count) ranks are more than \(Rank.maximumCount)")
        }
        guard loads.count == placements.count else {
            throw .balancing(
                "loads of \(loads.count) layers for placements of \(placements.count)")
        }
        for (layer, placement) in placements.enumerated() {
            guard loads[layer].count == placement.expertCount else {
                throw .balancing(
                    "loads of \(loads[layer].count) experts in layer \(layer): the model has"
                        + " \(placement.expertCount)")
            }
            if let expert = loads[layer].firstIndex(where: { !($0 >= 0 && $0 <= mostTokens) }) {
                throw .balancing(
                    "the load of expert \(expert) in layer \(layer) is"
                        + " \(loads[layer][expert]): not 0 to \(mostTokens) tokens")
            }
            guard slots.count == placement.rankCount,
                zip(slots, placement.expertsByRank).allSatisfy({
                    $0 >= $1.count && $0 <= placement.expertCount
                })
            else {
                throw .balancing(
                    "layer \(layer) has \(placement.expertsByRank.map(\.count)) copies on its"
                        + " ranks, which have room for \(slots)")
            }
        }
    }
}

/// What the ranks of a group carry of one layer: an expert's copies take their shares of its load,
/// equal ones where the placement states none.
struct RankLoads {
    let values: [Double]

    init(_ placement: ExpertPlacement, loads: [Double]) {
        if let shares = placement.shares {
            values = zip(placement.expertsByRank, shares).map { experts, shares in
                zip(experts, shares).reduce(0) {
                    $0 + loads[$1.0.rawValue] * Double($1.1) / Double(ExpertPlacement.whole)
                }
            }
            return
        }
        var copies = [Int](repeating: 0, count: placement.expertCount)
        for expert in placement.expertsByRank.joined() { copies[expert.rawValue] += 1 }
        values = placement.expertsByRank.map { experts in
            experts.reduce(0) { $0 + loads[$1.rawValue] / Double(copies[$1.rawValue]) }
        }
    }

    var highest: Double { values.max() ?? 0 }
    var mean: Double { values.reduce(0, +) / Double(max(1, values.count)) }
}
