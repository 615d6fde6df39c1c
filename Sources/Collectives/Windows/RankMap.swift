internal import Topology

/// Who reaches whom, and through whom: computed once per epoch, read by every exchange.
///
/// Ranks of one node read each other's windows. To another node a token travels once, to the
/// *carrier*: in normal mode the rank of that node with the sender's own place in its node, in
/// low-latency mode each receiving rank itself. A masked rank is lost: nothing goes to it, nothing
/// comes from it, and another rank of its node carries in its place.
final class RankMap: Sendable {
    let rank: Rank
    let rankCount: Int
    /// The ranks of this rank's node, masked ones included, by place.
    let members: [Rank]
    /// All ranks, and those that are masked.
    let ranks: [Rank], masked: [Rank]
    /// The ranks that are not masked.
    let alive: [Rank]
    /// The ranks of this rank's node that are not masked, itself included.
    let neighbours: [Rank]
    /// The ranks elsewhere to which this rank sends blocks, each once.
    let remoteCarriers: [Rank]
    /// The ranks elsewhere whose blocks this rank takes in.
    let carriedSources: [Rank]

    private let routes: Routes
    /// By source: the rank whose window holds its tokens for this rank.
    private let carrierHere: PerRank<Rank>

    init(rank: Rank, nodes: [NodeID], relays: Bool, masked: Set<Rank> = []) {
        let routes = Routes(nodes: nodes, relays: relays, masked: masked)
        let ranks = nodes.indices.map { Rank(rawValue: $0) }
        let alive = ranks.filter { !masked.contains($0) }
        let elsewhere = alive.filter { routes.nodes[$0] != routes.nodes[rank] }
        var carriers: [Rank] = []
        for reader in elsewhere {
            let carrier = routes.carrier(from: rank, to: reader)
            if !carriers.contains(carrier) { carriers.append(carrier) }
        }
        self.rank = rank
        rankCount = nodes.count
        self.routes = routes
        self.ranks = ranks
        self.masked = masked.sorted()
        self.alive = alive
        members = routes.ranksOfNode[routes.nodes[rank].rawValue]
        neighbours = members.filter { !masked.contains($0) }
        remoteCarriers = carriers
        carrierHere = PerRank(ranks.map { routes.carrier(from: $0, to: rank) })
        carriedSources = elsewhere.filter { routes.carrier(from: $0, to: rank) == rank }
    }

    /// The node of every rank.
    var nodes: PerRank<NodeID> { routes.nodes }
    /// The place of every rank among those of its node.
    var placeInNode: PerRank<Int> { routes.placeInNode }
    /// Whether a rank is lost.
    var isMasked: PerRank<Bool> { routes.isMasked }

    /// Whether two ranks read each other's windows.
    func share(_ a: Rank, _ b: Rank) -> Bool { nodes[a] == nodes[b] }

    /// The rank whose window holds the tokens of `source` for this rank.
    @inline(__always)
    func carrier(from source: Rank) -> Rank { carrierHere[source] }

    /// The rank whose window holds the tokens of `source` for `reader`.
    func carrier(from source: Rank, to reader: Rank) -> Rank {
        routes.carrier(from: source, to: reader)
    }

    /// Whether this rank takes in tokens of `source` for its node or for itself.
    func carries(_ source: Rank) -> Bool { !share(source, rank) && carrierHere[source] == rank }
}

/// The rule of carriers, and the tables that it reads.
private struct Routes: Sendable {
    let nodes: PerRank<NodeID>
    let ranksOfNode: [[Rank]]
    let placeInNode: PerRank<Int>
    let isMasked: PerRank<Bool>
    let relays: Bool

    init(nodes: [NodeID], relays: Bool, masked: Set<Rank>) {
        var members = [[Rank]](repeating: [], count: (nodes.max()?.rawValue ?? 0) + 1)
        var places: [Int] = []
        for (index, node) in nodes.enumerated() {
            places.append(members[node.rawValue].count)
            members[node.rawValue].append(Rank(rawValue: index))
        }
        self.nodes = PerRank(nodes)
        self.relays = relays
        ranksOfNode = members
        placeInNode = PerRank(places)
        isMasked = PerRank(nodes.indices.map { masked.contains(Rank(rawValue: $0)) })
    }

    func carrier(from source: Rank, to reader: Rank) -> Rank {
        if nodes[source] == nodes[reader] { return source }
        if !relays { return reader }
        let candidates = ranksOfNode[nodes[reader].rawValue]
        for step in candidates.indices {
            let candidate = candidates[(placeInNode[source] + step) % candidates.count]
            if !isMasked[candidate] { return candidate }
        }
        return reader
    }
}
