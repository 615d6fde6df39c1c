internal import Topology

/// Who reaches whom, and through whom.
///
/// Ranks of one node read each other's windows. To another node a token travels once, to the
/// *carrier*: in normal mode the rank of that node with the sender's own place in its node, in
/// low-latency mode each receiving rank itself.
public struct RankMap: Sendable, Equatable {
    public let rank: Int
    public let rankCount: Int
    /// The node of every rank.
    public let nodes: [Int]
    /// The ranks of each node, in order.
    let ranksOfNode: [[Int]]
    /// The place of every rank among those of its node.
    let placeInNode: [Int]
    let relays: Bool
    var masked: [Bool]

    init(rank: Int, nodes: [Int], relays: Bool) {
        self.rank = rank
        rankCount = nodes.count
        self.nodes = nodes
        self.relays = relays
        masked = [Bool](repeating: false, count: nodes.count)
        var members = [[Int]](repeating: [], count: (nodes.max() ?? 0) + 1)
        var places = [Int](repeating: 0, count: nodes.count)
        for (rank, node) in nodes.enumerated() {
            places[rank] = members[node].count
            members[node].append(rank)
        }
        ranksOfNode = members
        placeInNode = places
    }

    /// Whether two ranks read each other's windows.
    public func share(_ a: Int, _ b: Int) -> Bool { nodes[a] == nodes[b] }

    /// The rank whose window holds the tokens of `source` for `reader`.
    public func carrier(from source: Int, to reader: Int) -> Int {
        if share(source, reader) { return source }
        if !relays { return reader }
        let candidates = ranksOfNode[nodes[reader]]
        for step in candidates.indices {
            let place = (placeInNode[source] + step) % candidates.count
            if !masked[candidates[place]] { return candidates[place] }
        }
        return reader
    }

    /// Whether this rank takes in tokens of `source` for its node or for itself.
    func carries(_ source: Int) -> Bool {
        !share(source, rank) && carrier(from: source, to: rank) == rank
    }

    /// The ranks whose tokens `reader` reads in this rank's window.
    var alive: [Int] { (0 ..< rankCount).filter { !masked[$0] } }

    /// The ranks of this rank's node that are not masked, itself included.
    var neighbours: [Int] { ranksOfNode[nodes[rank]].filter { !masked[$0] } }

    /// The ranks elsewhere to which this rank sends blocks, each once.
    var remoteCarriers: [Int] {
        var found: [Int] = []
        for reader in alive where !share(rank, reader) {
            let carrier = carrier(from: rank, to: reader)
            if !found.contains(carrier) { found.append(carrier) }
        }
        return found
    }

    /// The ranks elsewhere whose blocks this rank takes in.
    var carriedSources: [Int] { alive.filter { carries($0) } }
}
