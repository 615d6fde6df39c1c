/// The one rule by which a copy of an expert is chosen, as a table for the tokens of one rank.
///
/// A copy on the token's own rank is preferred, then one on its node, then any other. Among equals
/// copies take turns by source rank and token, so that load spreads and the choice depends on no
/// clock. All copies hold the same weights, so the choice changes no result.
///
/// Where the placement says how much of an expert's tokens each copy takes, they take that. Near
/// copies still come first: of what a copy takes, the tokens of its own rank are the first, then
/// those of its node. Ranks are supposed to send equally many.
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
    /// Of `ExpertPlacement.whole` tokens of this rank, the number up to which a copy takes them;
    /// empty where copies take turns.
    @usableFromInline let bounds: [Int32]
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
        var bounds: [Int32] = []
        for expert in 0 ..< placement.expertCount {
            let all = physical.copies(of: ExpertID(rawValue: expert))
                .filter { living.contains(physical.rank(of: $0)) }
            let nearest = all.map(distance).min()
            precondition(nearest != nil, "expert \(expert) is on no living rank")
            var chosen = all.filter { distance($0) == nearest }
            if all.count > 1, let shares = placement.shares {
                var shares = CopyShares(
                    all.map {
                        let rank = physical.rank(of: $0)
                        return (rank, shares[rank.rawValue][physical.localIndex(of: $0)])
                    }, nodes: nodes, living: living.sorted()
                )
                let parts = ExpertPlacement.shares(shares.taken(from: source))
                chosen = []
                var bound = 0
                for (copy, part) in zip(all, parts) where part > 0 {
                    bound += part
                    chosen.append(copy)
                    bounds.append(Int32(bound))
                }
            } else if placement.shares != nil {
                bounds += chosen.map { _ in Int32(ExpertPlacement.whole) }
            }
            copies += chosen.map {
                Copy(rank: physical.rank(of: $0), localIndex: physical.localIndex(of: $0))
            }
            starts.append(Int32(copies.count))
        }
        self.copies = copies
        self.starts = starts
        self.bounds = bounds
        self.source = source.rawValue
    }

    /// The copy that serves `expert` for a token of this rank.
    @inlinable
    public func copy(of expert: ExpertID, token: Int) -> Copy {
        let first = Int(starts[expert.rawValue])
        let count = Int(starts[expert.rawValue + 1]) - first
        if count == 1 { return copies[first] }
        if bounds.isEmpty { return copies[first + (source + token) % count] }
        // Multiples of the golden ratio, and of the roots of 2 and 3: few tokens lie as evenly as
        // many.
        let place =
            (token &* 40503 &+ source &* 27147 &+ expert.rawValue &* 47975)
            & (ExpertPlacement.whole - 1)
        var copy = first
        while bounds[copy] <= Int32(truncatingIfNeeded: place) { copy += 1 }
        return copies[copy]
    }
}

/// How the tokens of one expert go from the ranks to its copies.
private struct CopyShares {
    /// What each living rank has left to send, and each copy to take, of all tokens.
    private var sent: [Double]
    private var wanted: [Double]
    private let copies: [Rank]
    private let nodes: [NodeID]
    private let living: [Rank]

    init(_ copies: [(rank: Rank, share: Int)], nodes: [NodeID], living: [Rank]) {
        self.copies = copies.map(\.rank)
        self.nodes = nodes
        self.living = living
        let sum = copies.reduce(0) { $0 + $1.share }
        wanted = copies.map {
            sum > 0 ? Double($0.share) / Double(sum) : 1 / Double(copies.count)
        }
        sent = living.map { _ in 1 / Double(living.count) }
    }

    /// What each copy takes of a rank's tokens: those of its own rank first, then those of its
    /// node, then the rest.
    mutating func taken(from source: Rank) -> [Double] {
        var result = [Double](repeating: 0, count: copies.count)
        for (place, rank) in living.enumerated() {
            guard let copy = copies.firstIndex(of: rank) else { continue }
            let part = min(sent[place], wanted[copy])
            sent[place] -= part
            wanted[copy] -= part
            if rank == source { result[copy] += part }
        }
        for node in Set(nodes).sorted() { send(within: node, source, &result) }
        send(within: nil, source, &result)
        return result
    }

    /// Sends what is left within a node, or among all, in proportion to what is left of both.
    private mutating func send(within node: NodeID?, _ source: Rank, _ result: inout [Double]) {
        let senders = living.indices.filter {
            node == nil || nodes[living[$0].rawValue] == node
        }
        let takers = copies.indices.filter {
            node == nil || nodes[copies[$0].rawValue] == node
        }
        let supply = senders.reduce(0) { $0 + sent[$1] }
        let demand = takers.reduce(0) { $0 + wanted[$1] }
        let amount = min(supply, demand)
        guard amount > 1e-12 else { return }
        let mine = senders.first { living[$0] == source }.map { sent[$0] } ?? 0
        for copy in takers {
            result[copy] += mine / supply * amount * wanted[copy] / demand
            wanted[copy] *= 1 - amount / demand
        }
        for sender in senders { sent[sender] *= 1 - amount / supply }
    }
}
