import Topology

/// The ranks of a simulated network that make one fabric.
///
/// A rank may be in several fabrics, as a process that pipelines and shares experts is: each has
/// connections of its own, and all share the links. An endpoint is one rank in one fabric.
struct SimulatedMembers: Sendable {
    let network: SimulatedNetwork
    /// Counts the fabrics of the network.
    let number: Int
    /// As the network numbers them, in the fabric's order.
    let ranks: [Rank]
    /// By rank of the network, its place in the fabric.
    private let places: [Int: Int]

    init(_ network: SimulatedNetwork, number: Int, ranks: [Rank]) {
        self.network = network
        self.number = number
        self.ranks = ranks
        places = Dictionary(
            uniqueKeysWithValues: ranks.enumerated().map { ($1.rawValue, $0) })
    }

    /// The planes on which a rank of the fabric sends.
    func planes(of rank: Rank) -> Range<Int> {
        network.links.planes(of: ranks[rank.rawValue])
    }

    /// The number of a rank of the fabric in the whole network.
    func endpoint(of rank: Rank) -> Int {
        number * network.links.nodes.count + ranks[rank.rawValue].rawValue
    }

    /// The rank of the fabric at an endpoint.
    func rank(at endpoint: Int) -> Rank {
        guard let place = places[network.links.rank(at: endpoint).rawValue] else {
            preconditionFailure("endpoint \(endpoint) is not of fabric \(number)")
        }
        return Rank(rawValue: place)
    }
}

extension LinkMap {
    /// The rank of an endpoint.
    func rank(at endpoint: Int) -> Rank { Rank(rawValue: endpoint % nodes.count) }
}
