import Collectives
package import Topology

/// An exchange whose sizes move over the links, and no byte: for thousands of ranks.
///
/// Normal mode: a token crosses to another node once, to the rank there with its sender's place,
/// which passes it on inside the node; both links work at once. Low latency: a token goes to each
/// rank of its experts. What returns takes the same ways back.
package struct FlowExchange: ExchangeSimulation {
    private let options: SimulationOptions
    private let links: LinkMap

    package init(_ options: SimulationOptions, _ links: LinkMap) {
        self.options = options
        self.links = links
    }

    /// Runs one dispatch and combine of all EP groups at once.
    package func traced() throws -> TracedExchange {
        let traffic = try FlowTraffic(options, links)
        var writer = SimulationWriter(options, links, detail: .flows)
        var begins = [UInt64](repeating: 0, count: options.rankCount)
        for (name, isHome) in [("dispatch", false), ("combine", true)] {
            let computing = (0 ..< options.rankCount).map { rank in
                let factor = options.stragglers[Rank(rawValue: rank)] ?? 1
                return UInt64(max(0, options.compute * factor / .nanoseconds(1)))
            }
            // Ranks meet before each half, as they do where bytes move.
            let meeting = begins.max() ?? 0
            begins = computing.map { meeting + $0 }
            let flows = traffic.flows(home: isHome)
            let outcome = FlowRun(links, flows, begins: begins).outcome
            writer.add(
                name,
                begins.indices.map { rank in
                    let end = max(outcome.ends[rank], begins[rank])
                    return ExchangeDiagnosis.Sample(
                        rank: Rank(rawValue: rank), node: links.nodes[rank], began: begins[rank],
                        computed: computing[rank], nanoseconds: end - begins[rank],
                        lastAwaited: outcome.last[rank].map { Rank(rawValue: $0) })
                },
                carried: outcome.carriedBytes)
            begins = begins.indices.map { max(outcome.ends[$0], begins[$0]) }
        }
        return writer.result(losses: [], wrong: nil)
    }
}

/// Bytes that one rank has for another, on one plane.
struct PlannedFlow {
    let source: Int
    let target: Int
    let route: LinkMap.Route
    let bytes: Double
}
