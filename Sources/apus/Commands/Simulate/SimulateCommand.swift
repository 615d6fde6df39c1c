import ArgumentParser
import Benchmarks
import Topology

/// `apus simulate`: the product's own code on a cluster that is only described.
struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Runs exchanges, training and serving on a described cluster, in virtual time.",
        discussion: """
            Links have the rates and latencies of a topology file, and are shared max-min fairly. \
            One seed has one history, on any machine. Traces open in https://ui.perfetto.dev.
            """,
        subcommands: [
            SimulatedAllToAll.self, SimulatedTrainCommand.self, SimulatedServeCommand.self,
            Links.self,
        ])

    /// The links of a file, by the names that options take.
    struct Links: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints the links of a topology file, with the rates that exchanges reach.",
            discussion: """
                  apus simulate links --topology topology/four-nodes-25g-roce.yaml
                """)

        @Option(help: "A topology file.")
        var topology: String

        @Option(help: "Ranks that take part: those of the first nodes (default: all).")
        var ranks: Int?

        func run() throws {
            try reporting {
                let map = try NodeMap(contentsOf: topology)
                let links = try LinkMap(
                    map, file: topology, rankCount: ranks ?? map.rankCount)
                for link in links.links {
                    print("\(link.name) \(link.bytesPerSecond / 1e9) GB/s")
                }
            }
        }
    }
}
