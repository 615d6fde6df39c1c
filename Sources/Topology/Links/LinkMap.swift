/// The links of a described cluster with their rates, and the links that bytes between two ranks
/// take.
///
/// Links are directed: what a rank sends and what it receives do not share a rate. A static route
/// follows from the ranks and the plane alone; adaptive routing has all equally short ones.
package struct LinkMap: Sendable {
    /// One direction of one link.
    package struct Link: Hashable, Codable, Sendable {
        /// What it is called: `node3.plane0.out`, `rank12.nvlink.in`, `leaf0-spine0`.
        package let name: String
        /// What it can carry, bytes per second.
        package var bytesPerSecond: Double
    }

    /// The way from one rank to another.
    package struct Route: Hashable, Sendable {
        /// Indices of `links`, in the order in which bytes take them.
        package let links: [Int32]
        /// From the end of sending to the arrival, in nanoseconds.
        package let latencyNanoseconds: UInt64
    }

    /// How switches choose among equally short ways.
    package enum Routing: String, CaseIterable, Codable, Sendable {
        /// By a hash of both ends, so that the bytes of two ranks always take one way.
        case `static`
        /// By what the ways carry.
        case adaptive
    }

    /// All links, numbered.
    package internal(set) var links: [Link] = []
    /// The map that it was made from.
    package let map: NodeMap
    /// The node of each rank.
    package let nodes: [Int]
    /// A rank's place among the ranks of its node.
    let places: [Int]
    /// Where each rank's link inside its node is: out, then in. nil where the file has none.
    var nodeLinks: [Int32]?
    /// Where each NIC is, by node, then plane: out, then in.
    var nics: [Int32] = []
    /// How switches choose among equally short ways.
    package var routing = Routing.static
    /// By plane; nil where nothing is written switch by switch.
    var switches: [SwitchRoutes?] = []

    /// Whether a link joins ranks of one node.
    package func isInsideNode(_ link: Int) -> Bool { nodeLinks?.contains(Int32(link)) ?? false }

    /// The planes that a rank sends on: its share of its node's NICs.
    ///
    /// With at least as many planes as ranks each rank has its own; otherwise ranks share them.
    package func planes(of rank: Rank) -> Range<Int> {
        let planes = map.planes.count
        let ranks = map.nodes[nodes[rank.rawValue]].ranks
        let place = places[rank.rawValue]
        let first = place * planes / ranks
        return first ..< max(first + 1, (place + 1) * planes / ranks)
    }

    /// The way from one rank to another on a plane; inside a node the plane has no part in it.
    ///
    /// Where every plane is a network of its own, bytes arrive at the NIC of the same plane. If
    /// that is another rank's, they take the link inside the node from there (DeepEP's NVLink
    /// forwarding; Insights into DeepSeek-V3, section 5.1.1).
    package func route(from source: Rank, to target: Rank, plane: Int) -> Route {
        let (from, to) = (nodes[source.rawValue], nodes[target.rawValue])
        guard from != to else { return insideRoute(from: source, to: target) }
        let path = switches[plane]?.path(from: from, to: to, choice: source.rawValue)
        return route(over: path ?? [], from: source, to: target, plane: plane)
    }

    /// The ways among which switches choose: one with static routing, else all that are equally
    /// short, the static one among them unless there are more than `SwitchRoutes.paths` gives.
    package func routes(from source: Rank, to target: Rank, plane: Int) -> [Route] {
        let (from, to) = (nodes[source.rawValue], nodes[target.rawValue])
        guard routing == .adaptive, from != to, let switches = switches[plane] else {
            return [route(from: source, to: target, plane: plane)]
        }
        return switches.paths(from: from, to: to).map {
            route(over: $0, from: source, to: target, plane: plane)
        }
    }

    private func insideRoute(from source: Rank, to target: Rank) -> Route {
        let inside = nodeLinks.map { [$0[2 * source.rawValue], $0[2 * target.rawValue + 1]] }
        return Route(links: inside ?? [], latencyNanoseconds: insideLatency)
    }

    /// The way over the links between switches.
    private func route(
        over path: [Int32], from source: Rank, to target: Rank, plane: Int
    ) -> Route {
        let (from, to) = (nodes[source.rawValue], nodes[target.rawValue])
        var links = [nic(from, plane)] + path
        links.append(nic(to, plane) + 1)
        var latency = map.planes[plane].latencySeconds ?? 0
        if let nodeLinks, isForwarded, let owner = owner(of: plane, on: to), owner != target {
            links += [nodeLinks[2 * owner.rawValue], nodeLinks[2 * target.rawValue + 1]]
            latency += map.hardware?.intranode?.latencySeconds ?? 0
        }
        return Route(links: links, latencyNanoseconds: UInt64((latency * 1e9).rounded()))
    }

    /// The link with this name.
    package func index(of name: String) -> Int? { links.firstIndex { $0.name == name } }

    /// Makes a link slower or faster.
    package mutating func scale(_ link: Int, by factor: Double) {
        links[link].bytesPerSecond *= factor
    }

    /// The links by which one node reaches the others, both directions.
    package func links(ofNode node: Int) -> [Int] {
        map.planes.indices.flatMap { [Int(nic(node, $0)), Int(nic(node, $0)) + 1] }
    }

    private func nic(_ node: Int, _ plane: Int) -> Int32 { nics[node * map.planes.count + plane] }

    /// A NIC belongs to an accelerator; the NICs of a machine whose ranks are its cores belong to
    /// all.
    private var isForwarded: Bool {
        map.hardware?.intranode?.kind == .nvlink && map.hardware?.network?.planes != .joined
    }

    private var insideLatency: UInt64 {
        UInt64(((map.hardware?.intranode?.latencySeconds ?? 0) * 1e9).rounded())
    }

    /// The rank of a node whose NIC is on a plane; nil where ranks share it.
    private func owner(of plane: Int, on node: Int) -> Rank? {
        let range = map.ranks(on: NodeID(rawValue: node))
        return range.lazy.map { Rank(rawValue: $0) }
            .first { planes(of: $0).contains(plane) && map.planes.count >= range.count }
    }
}
