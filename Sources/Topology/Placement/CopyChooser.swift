/// The one rule by which a copy of an expert is chosen, as a table for the tokens of one rank.
///
/// A copy on the token's own rank is preferred, then one on its node, then any other. Among equals
/// copies take turns by source rank and token, so that load spreads and the choice depends on no
/// clock. All copies hold the same weights, so the choice changes no result.
public struct CopyChooser: Hashable, Sendable {
    /// Where a copy is: its rank, and its place among the copies of that rank.
    public struct Copy: Hashable, Sendable {
        /// The rank that holds the copy.
        public let rank: Rank
        /// The rank's local expert index.
        public let localIndex: Int

        @inlinable init(rank: Rank, localIndex: Int) {
            self.rank = rank
            self.localIndex = localIndex
        }
    }

    /// The best copies of each expert, one list after the other.
    @usableFromInline let copies: [Copy]
    /// Where each expert's copies begin; one more than there are experts.
    @usableFromInline let starts: [Int32]
    /// Decides who comes first in a turn.
    @usableFromInline let source: Int

    /// Lists, for the tokens of `source`, the copies that may serve them.
    ///
    /// - Precondition: every expert has a copy on a living rank, as in an `ExpertMap`.
    init(_ placement: ExpertPlacement, for source: Rank, nodes: [NodeID], living: [Rank]) {
        let physical = PhysicalExperts(placement)
        let living = Set(living)
        func distance(_ copy: PhysicalExpertID) -> Int {
            let rank = physical.rank(of: copy)
            if rank == source { return 0 }
            return nodes[rank.rawValue] == nodes[source.rawValue] ? 1 : 2
        }
        var copies: [Copy] = []
        var starts: [Int32] = [0]
        for expert in 0 ..< placement.expertCount {
            let all = physical.copies(of: ExpertID(rawValue: expert))
                .filter { living.contains(physical.rank(of: $0)) }
            let nearest = all.map(distance).min()
            precondition(nearest != nil, "expert \(expert) is on no living rank")
            copies += all.filter { distance($0) == nearest }.map {
                Copy(rank: physical.rank(of: $0), localIndex: physical.localIndex(of: $0))
            }
            starts.append(Int32(copies.count))
        }
        self.copies = copies
        self.starts = starts
        self.source = source.rawValue
    }

    /// The copy that serves `expert` for a token of this rank.
    @inlinable
    public func copy(of expert: ExpertID, token: Int) -> Copy {
        let first = Int(starts[expert.rawValue])
        let count = Int(starts[expert.rawValue + 1]) - first
        return copies[count == 1 ? first : first + (source + token) % count]
    }
}
