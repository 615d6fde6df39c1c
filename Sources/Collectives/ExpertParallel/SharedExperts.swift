public import Topology
internal import Transport

/// The group whose ranks share a model's routed experts, and where each expert is now.
public struct SharedExperts {
    /// Carries tokens to the experts and back.
    public let group: ExpertParallelGroup
    /// Where the experts are in this epoch.
    public var map: ExpertMap

    /// Shares experts over a group; the map is that of all its ranks.
    public init(_ group: ExpertParallelGroup, _ map: ExpertMap) {
        self.group = group
        self.map = map
    }

    /// This rank.
    public var rank: Rank { group.fabric.rank }

    /// The logical experts that this rank loads of a layer, in the order of its copies.
    public func experts(layer: Int) -> [ExpertID] { map.experts(on: rank, layer: layer) }
}
