import Cluster
import Foundation
import Topology

/// What people read of the placement of experts.
enum PlacementText {
    /// Layers and moves that are worth a line each; the rest is counted.
    private static let mostLines = 40

    /// The load of each rank, and the layers with the busiest ranks.
    static func lines(of group: PlacementReport.Group) throws -> [String] {
        guard group.ranks.contains(where: group.living.contains) else {
            return ["group \(group.name): no rank of it lives"]
        }
        let present = try group.livingPlacements()
        let sums = Rebalancing.rankLoads(of: present.placements, loads: group.loads)
        let mean = sums.reduce(0, +) / Double(max(1, sums.count))
        let whole = Rebalancing.imbalance(of: present.placements, loads: group.loads)
        let experts = group.placements.first?.expertCount ?? 0
        var lines = [
            "group \(group.name), epoch \(group.epoch): \(experts) experts,"
                + " \(group.slots.reduce(0, +)) copies a layer on \(group.ranks.count) ranks,"
                + " max/mean \(whole.ratioText)",
            "rank   copies  tokens        over mean",
        ]
        for (place, rank) in group.ranks.enumerated() {
            let living = present.living.firstIndex(of: Rank(rawValue: place))
            let sum = living.map { sums[$0] } ?? 0
            let ratio = mean > 0 ? (sum / mean).ratioText : "-"
            lines.append(
                "\(rank.rawValue)".padded(to: 7)
                    + "\(living.map { present.slots[$0] } ?? 0)".padded(to: 8)
                    + String(format: "%.0f", sum).padded(to: 14) + ratio
                    + (living == nil ? "  lost" : ""))
        }
        let layers = group.loads.indices.filter { group.loads[$0].contains { $0 > 0 } }
        if layers.isEmpty { return lines + ["no token was counted yet"] }
        lines.append("layer  max/mean  busiest expert (of the layer's tokens)")
        for layer in layers.prefix(mostLines) {
            let loads = group.loads[layer]
            let busiest = loads.indices.max { loads[$0] < loads[$1] } ?? 0
            let share = loads[busiest] / loads.reduce(0, +)
            let ratio = Rebalancing.imbalance(of: [present.placements[layer]], loads: [loads])
            lines.append(
                "\(layer)".padded(to: 7) + ratio.ratioText.padded(to: 10)
                    + "\(busiest) (\(String(format: "%.1f", share * 100))%)")
        }
        if layers.count > mostLines { lines.append("and \(layers.count - mostLines) layers more") }
        if let epoch = group.preparing { lines.append("ranks read experts for epoch \(epoch)") }
        return lines
    }

    /// What a better placement brings, and what it takes.
    static func lines(of better: Rebalancing, isBounded: Bool) -> [String] {
        var lines = [
            "max/mean \(better.before.ratioText) to \(better.after.ratioText),"
                + " \(better.moves.count) experts to read"
        ]
        if better.moves.isEmpty, better.after < better.before {
            lines.append("copies stay where they are, and take other shares of their tokens")
        }
        guard !better.moves.isEmpty else { return lines }
        lines.append(
            "layer  expert  to rank  instead of  layer's max/mean"
                + (isBounded ? "  model's max/mean" : ""))
        for move in better.moves.prefix(mostLines) {
            let gone = move.instead.map { "\($0.rawValue)" } ?? "-"
            lines.append(
                "\(move.layer)".padded(to: 7) + "\(move.expert.rawValue)".padded(to: 8)
                    + "\(move.rank.rawValue)".padded(to: 9) + gone.padded(to: 12)
                    + move.layerImbalance.ratioText.padded(to: isBounded ? 18 : 0)
                    + (isBounded ? move.imbalance.ratioText : ""))
        }
        if better.moves.count > mostLines {
            lines.append("and \(better.moves.count - mostLines) moves more (--json prints all)")
        }
        return lines
    }

    /// The same as one JSON object.
    struct Outcome: Encodable {
        struct Move: Encodable {
            let layer: Int
            let expert: Int
            /// Numbered as in the group.
            let rank: Int
            let instead: Int?
            /// Moves of one number belong together.
            let step: Int
            let layerImbalance: Double
            let imbalance: Double
        }

        let before: Double
        let after: Double
        let moves: [Move]
        /// Of EPLB, and why.
        let policy: String

        init(_ better: Rebalancing, policy: String) {
            self.policy = policy
            before = better.before
            after = better.after
            moves = better.moves.map {
                Move(
                    layer: $0.layer, expert: $0.expert.rawValue, rank: $0.rank.rawValue,
                    instead: $0.instead?.rawValue, step: $0.step,
                    layerImbalance: $0.layerImbalance, imbalance: $0.imbalance)
            }
        }
    }
}

extension Double {
    /// A ratio as tables want it.
    var ratioText: String { String(format: "%.3f", self) }
}
