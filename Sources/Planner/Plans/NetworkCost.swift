package import Topology

/// What a network's parts cost when it is fully built.
package struct NetworkCost: Sendable {
    /// Endpoints, switches and links.
    package let counts: Network.Counts
    /// All of it.
    package let dollars: Double
    /// How it was computed.
    package let formula: String

    /// Nil where the file names no network or no prices.
    package init?(_ map: NodeMap) {
        guard let hardware = map.hardware, let prices = hardware.prices else { return nil }
        if let network = hardware.network {
            counts = network.counts(planeCount: map.planes.count)
        } else if !hardware.switches.isEmpty {
            counts = Network.Counts(
                endpoints: hardware.switches.reduce(0) { $0 + $1.nodes.count },
                switches: hardware.switches.count,
                links: hardware.switches.reduce(0) { $0 + $1.above.count })
        } else {
            return nil
        }
        let (one, link, end) = (
            prices.switchDollars ?? 0, prices.linkDollars ?? 0, prices.endpointDollars ?? 0
        )
        dollars =
            Double(counts.switches) * one + Double(counts.links) * link
            + Double(counts.endpoints) * end
        formula =
            "\(counts.switches) switches x $\(Figure.digits(one)) + \(counts.links) links x "
            + "$\(Figure.digits(link)) + \(counts.endpoints) endpoints x $\(Figure.digits(end))"
    }

    /// Dollars of an endpoint.
    package var dollarsPerEndpoint: Double { dollars / Double(max(1, counts.endpoints)) }
}
