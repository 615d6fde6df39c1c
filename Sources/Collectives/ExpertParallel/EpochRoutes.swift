internal import Topology

/// What one epoch's map says to one rank, as tables that a layout is made from.
struct EpochRoutes {
    /// The map that they were made from.
    let map: ExpertMap
    /// Who reaches whom.
    let ranks: RankMap
    /// Per layer: which copy serves a choice of this rank's tokens.
    let copies: [CopyChooser]

    init(_ map: ExpertMap, rank: Rank, nodes: [NodeID], relays: Bool) {
        self.map = map
        ranks = RankMap(rank: rank, nodes: nodes, relays: relays, masked: map.lostRanks)
        // Layers mostly have one placement: equal ones share one table.
        var tables: [ExpertPlacement: CopyChooser] = [:]
        copies = map.placements.indices.map { layer in
            let placement = map.placements[layer]
            if let table = tables[placement] { return table }
            let table = map.copies(for: rank, layer: layer, nodes: nodes)
            tables[placement] = table
            return table
        }
    }
}
