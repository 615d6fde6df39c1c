import Collectives
package import Topology
import Transport

/// An exchange in virtual time, with the product's own code and real bytes.
package struct SimulatedExchange: ExchangeSimulation {
    private let cluster: SimulatedCluster

    package init(_ options: SimulationOptions, _ links: LinkMap) {
        cluster = SimulatedCluster(options: options, links: links)
    }

    /// Runs one dispatch and combine.
    package func traced() throws -> TracedExchange {
        let options = cluster.options
        let simulation = try cluster.fabric()
        let draw = RoutingDraw(options)
        let routings = try (0 ..< options.rankCount).map { rank in
            try Routing(
                tokenCount: options.tokenCount, topK: options.topK,
                expertIDs: draw.experts(of: rank))
        }
        let rank = SimulatedRank(
            options: options, network: simulation.network, routings: routings)
        let endings = try simulation.run { try rank.run($0) }
        simulation.close()
        return result(try cluster.outcome(of: endings))
    }

    private func result(_ outcome: SimulatedCluster.Outcome<SimulatedRank.Ending>) -> TracedExchange
    {
        let links = cluster.links
        var writer = SimulationWriter(cluster.options, links, detail: .bytes)
        let carried = SimulatedCluster.most(of: outcome.seen.map(\.value.carried))
        let halves: [(String, KeyPath<SimulatedRank.Ending, SimulatedRank.Seen?>)] = [
            ("dispatch", \.dispatch), ("combine", \.combine),
        ]
        for (index, (name, half)) in halves.enumerated() where carried.count > index + 1 {
            writer.add(
                name,
                outcome.seen.compactMap { rank, ending in
                    ending[keyPath: half].map { one in
                        ExchangeDiagnosis.Sample(
                            rank: rank, node: links.nodes[rank.rawValue], began: one.began,
                            computed: one.computed, nanoseconds: one.ended - one.began,
                            lastAwaited: one.lastAwaited)
                    }
                },
                carried: zip(carried[index + 1], carried[index]).map { $0 - $1 })
        }
        return writer.result(
            losses: outcome.losses, wrong: outcome.seen.reduce(0) { $0 + $1.value.wrong })
    }
}
