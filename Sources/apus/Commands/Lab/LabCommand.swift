import ArgumentParser
import Cluster
import Foundation
import Topology

/// Nodes as network namespaces of this machine, wired as a topology file says.
struct LabCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lab",
        abstract: "Builds a cluster of network namespaces on this machine, and runs things in it.",
        discussion: """
            Needs root and iproute2. Nodes are namespaces joined by veth pairs through one bridge \
            per plane; rates are shaped by tbf. What apus lab did not make, it does not touch.

              apus lab run topology/two-nodes-4g.yaml -- apus bench all-to-all
              apus lab up topology/two-nodes-4g.yaml
              apus lab down topology/two-nodes-4g.yaml
            """,
        subcommands: [Up.self, Run.self, Down.self])

    struct Up: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Builds the lab and leaves it up.",
            discussion: """
                Prints the name and the addresses of each node. Commands run in it by \
                apus lab run, or by ip netns exec NAME.

                  apus lab up topology/two-nodes-4g.yaml
                """)

        @Argument(help: "A file of topology/.") var topology: String

        func run() throws {
            try reporting {
                let lab = try Lab.up(NodeMap(lab: topology), isTemporary: false)
                let map = lab.state.map
                for index in map.nodes.indices {
                    let node = NodeID(rawValue: index)
                    let addresses = map.planes.indices.map {
                        "\(map.planes[$0].name) \(map.address(of: node, plane: $0))"
                    }
                    let name = lab.state.plan.namespace(of: node)
                    print("\(name)  \(addresses.joined(separator: "  "))")
                }
            }
        }
    }

    struct Down: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends what runs in the lab and removes it, also after a crash.",
            discussion: """
                Only processes and namespaces that carry the lab's mark are touched.

                  apus lab down topology/two-nodes-4g.yaml
                """)

        @Argument(help: "A file of topology/.") var topology: String

        func run() throws {
            try reporting {
                let map = try NodeMap(lab: topology)
                if try !Lab.remove(named: map.name) { print("lab \(map.name) is not up") }
                Lab.removeAbandoned().forEach { print($0) }
            }
        }
    }

    struct Run: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Runs a command on every rank of the lab.",
            discussion: """
                Builds the lab for the time of the command unless it is up. Each process gets \
                RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT, \
                APUS_NODE, APUS_ADDRESSES, APUS_DEVICES and APUS_TOKEN. Exits with the first \
                status that is not 0.

                  apus lab run topology/two-nodes-4g.yaml -- apus bench all-to-all
                  apus lab run topology/two-nodes-4g.yaml --per-node -- ip address
                """)

        @Argument(help: "A file of topology/.") var topology: String
        @Flag(help: "Run once per node, not once per rank.") var perNode = false
        @Argument(parsing: .postTerminator, help: "After --: the command.") var command: [String] =
            []

        func validate() throws {
            if command.isEmpty { throw ValidationError("a command is needed after --") }
        }

        func run() throws {
            try reporting {
                try LabSite.run(Command(words: command), in: topology, isPerNode: perNode)
            }
        }
    }
}
