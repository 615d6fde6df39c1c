/// A placement seen copy by copy, as flat tables that a loop over tokens can index.
///
/// Copies are numbered rank by rank, in the order each rank holds them.
package struct PhysicalExperts: Hashable, Sendable {
    /// The logical expert behind each copy.
    package let logicalIndices: [Int]
    /// The rank that holds each copy.
    package let rankIndices: [Int]
    /// Where each rank's copies begin, and the total at the end: `rankCount + 1` values.
    package let rankOffsets: [Int]
    /// Copies of every logical expert in ascending order, one expert after another.
    package let copyIndices: [Int]
    /// Where each logical expert's copies begin in `copyIndices`: `expertCount + 1` values.
    package let copyOffsets: [Int]

    /// Numbers the copies of a placement.
    public init(_ placement: ExpertPlacement) {
        var copies = [[Int]](repeating: [], count: placement.expertCount)
        var offsets = [0]
        var logical: [Int] = []
        var ranks: [Int] = []
        for (rank, experts) in placement.expertsByRank.enumerated() {
            for expert in experts {
                copies[expert.rawValue].append(logical.count)
                logical.append(expert.rawValue)
                ranks.append(rank)
            }
            offsets.append(logical.count)
        }
        logicalIndices = logical
        rankIndices = ranks
        rankOffsets = offsets
        copyIndices = copies.flatMap { $0 }
        copyOffsets = copies.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }
    }

    /// The rank that holds a copy.
    public func rank(of copy: PhysicalExpertID) -> Rank {
        Rank(rawValue: rankIndices[copy.rawValue])
    }

    /// The logical expert a copy is of.
    public func expert(of copy: PhysicalExpertID) -> ExpertID {
        ExpertID(rawValue: logicalIndices[copy.rawValue])
    }

    /// Where a copy stands among those of its rank: its local expert index.
    public func localIndex(of copy: PhysicalExpertID) -> Int {
        copy.rawValue - rankOffsets[rankIndices[copy.rawValue]]
    }

    /// The copies of a logical expert, ascending.
    public func copies(of expert: ExpertID) -> [PhysicalExpertID] {
        copyIndices[copyOffsets[expert.rawValue] ..< copyOffsets[expert.rawValue + 1]]
            .map(PhysicalExpertID.init(rawValue:))
    }
}
