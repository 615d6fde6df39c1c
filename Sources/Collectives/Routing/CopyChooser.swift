public import Topology

/// Says which copy of an expert serves a choice of one rank's token.
///
/// A copy on the rank itself is preferred, then one on its node, then any; among equals the
/// token's number decides, so that load spreads and the answer never depends on time. All copies
/// hold the same weights, so the choice changes no result.
public struct CopyChooser: Hashable, Sendable {
    /// Routed experts of the model.
    public let expertCount: Int
    /// The best copies of each expert, one list after the other: rank in the upper half, local
    /// expert index in the lower.
    private var copies: [UInt64] = []
    /// Where each expert's copies begin; one more than there are experts.
    private var starts: [Int32] = [0]

    /// Lists, for the tokens of `rank`, the copies that may serve them.
    ///
    /// - Throws: `CollectivesError.expertLost` if masked ranks hold all copies of an expert.
    public init(
        placement: ExpertPlacement, rank: Rank, nodes: [NodeID], masked: Set<Rank> = []
    ) throws(CollectivesError) {
        expertCount = placement.expertCount
        var all = [[(distance: Int, word: UInt64)]](repeating: [], count: expertCount)
        for holder in 0 ..< placement.rankCount where !masked.contains(Rank(rawValue: holder)) {
            let far = nodes[holder] == nodes[rank.rawValue] ? 1 : 2
            let distance = holder == rank.rawValue ? 0 : far
            for (local, expert) in placement.expertsByRank[holder].enumerated() {
                let word = UInt64(holder) << 32 | UInt64(local)
                all[expert.rawValue].append((distance, word))
            }
        }
        for expert in 0 ..< expertCount {
            guard let nearest = all[expert].map(\.distance).min() else {
                throw .expertLost(ExpertID(rawValue: expert))
            }
            copies += all[expert].filter { $0.distance == nearest }.map(\.word)
            starts.append(Int32(copies.count))
        }
    }

    /// The rank and local expert index that serve `expert` for a token.
    public func copy(of expert: ExpertID, token: Int) -> (rank: Rank, local: Int) {
        let first = Int(starts[expert.rawValue])
        let count = Int(starts[expert.rawValue + 1]) - first
        let word = copies[count == 1 ? first : first + token % count]
        return (Rank(rawValue: Int(word >> 32)), Int(word & 0xffff_ffff))
    }
}
