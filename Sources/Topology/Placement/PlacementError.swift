/// Why a placement, or a map of all layers, cannot be used.
public enum PlacementError: Error, Hashable, Sendable {
    /// A rank holds an expert that the model does not have.
    case unknownExpert(ExpertID, expertCount: Int)
    /// An expert is on no rank.
    case notPlaced(ExpertID)
    /// A rank holds one expert twice.
    case copiesOnOneRank(Rank)
    /// A rank would hold no expert.
    case moreRanksThanExperts(ranks: Int, experts: Int)
    /// The shares of an expert's copies, or one of them, are no part of a whole.
    case share(ExpertID, Int)
    /// There are not as many shares as copies.
    case shareCounts([Int])
    /// There are more redundant copies than ranks that have no copy yet.
    case redundant(Int, limit: Int, ranks: Int)
    /// A map has no layer.
    case noLayers
    /// A map's epoch is out of range.
    case epoch(UInt64)
    /// A rank lives that the placements do not name.
    case unknownRank(Rank, rankCount: Int)
    /// A layer has other ranks or experts than layer 0.
    case layersDiffer(layer: Int, ranks: Int, experts: Int)
    /// All copies of an expert are on ranks that are lost.
    case lost(ExpertID, layer: Int)
    /// A rank would hold more copies of a layer than it has room for.
    case slots(Int, layer: Int, limit: Int)
}

extension PlacementError: CustomStringConvertible {
    /// The fact, the value, the limit, and where the limit came from.
    public var description: String {
        switch self {
        case .unknownExpert(let expert, let count):
            "\(expert) is out of range: the model has \(count) routed experts (n_routed_experts)"
        case .notPlaced(let expert): "\(expert) is on no rank of the placement"
        case .copiesOnOneRank(let rank): "\(rank) holds two copies of one expert"
        case .moreRanksThanExperts(let ranks, let experts):
            "\(ranks) ranks are too many: the model has \(experts) routed experts, one per rank"
        case .share(let expert, let share):
            "a share, or the sum of all shares, of \(expert) is \(share): shares are at least 0 and"
                + " add up to \(ExpertPlacement.whole)"
        case .shareCounts(let counts):
            "shares of \(counts) copies on the ranks are not one for each copy"
        case .redundant(let count, let limit, let ranks):
            "\(count) redundant experts are not 0 to \(limit): each of \(ranks) ranks holds an"
                + " expert once at most"
        case .noLayers: "an expert map has no layer"
        case .epoch(let epoch):
            "epoch \(epoch) is out of range: the limits are 1 and \(ExpertMap.maximumEpoch)"
        case .unknownRank(let rank, let count):
            "\(rank) is out of range: the placements name \(count) ranks"
        case .layersDiffer(let layer, let ranks, let experts):
            "layer \(layer) has \(experts) experts on \(ranks) ranks, unlike layer 0"
        case .lost(let expert, let layer):
            "all copies of \(expert) of layer \(layer) are on ranks that are lost"
        case .slots(let count, let layer, let limit):
            "\(count) copies of layer \(layer) on one rank: it has room for \(limit)"
        }
    }
}

extension PlacementError: ProgramError {
    /// Bad input: the user chose ranks and model.
    public var exitStatus: ExitStatus { .badInput }
}
