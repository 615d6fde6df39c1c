import Foundation
import Topology

/// One process of a lab run, and where it belongs.
struct LabProcess: Hashable, Sendable {
    /// The process's rank; with one process per node, the node's number.
    var rank: Rank
    /// The node whose namespace it runs in.
    var node: NodeID
    /// Its number among the processes of its node.
    var localRank: Int
    /// How many processes its node has.
    var localRankCount: Int
}

/// One command, run on every rank (or node) of a lab.
struct LabRun: Sendable {
    /// The lab to run in.
    var plan: LabPlan
    /// Once per node, whatever its count of ranks.
    var isPerNode: Bool
    /// Where rank 0 listens for the others, on plane 0 of its node.
    var rendezvousPort: Int
    /// The secret the processes of this run share.
    var token: String

    /// A run in `lab`, with a port and a token of its own.
    init(in lab: Lab, isPerNode: Bool = false) {
        plan = lab.state.plan
        self.isPerNode = isPerNode
        // Below the ephemeral range; two runs in one lab rarely meet, and one of them fails then.
        rendezvousPort = Int.random(in: 20000 ..< 30000)
        token = Lab.randomWord() + Lab.randomWord()
    }

    /// The processes, in order of rank.
    var processes: [LabProcess] {
        let map = plan.map
        if isPerNode {
            return map.nodes.indices.map {
                LabProcess(
                    rank: Rank(rawValue: $0), node: NodeID(rawValue: $0), localRank: 0,
                    localRankCount: 1)
            }
        }
        return map.nodes.indices.flatMap { node in
            let ranks = map.ranks(on: NodeID(rawValue: node))
            return ranks.map {
                LabProcess(
                    rank: Rank(rawValue: $0), node: NodeID(rawValue: node),
                    localRank: $0 - ranks.lowerBound, localRankCount: ranks.count)
            }
        }
    }

    /// What a process is told: the variables of torchrun, and those of a lab.
    ///
    /// `APUS_NODE` says which ranks share a node: namespaces of one machine would otherwise look
    /// like one node, and processes would reach each other through memory instead of the wire.
    func environment(of process: LabProcess) -> [String: String] {
        let map = plan.map
        let planes = map.planes.indices
        return [
            "RANK": "\(process.rank.rawValue)",
            "WORLD_SIZE": "\(processes.count)",
            "LOCAL_RANK": "\(process.localRank)",
            "LOCAL_WORLD_SIZE": "\(process.localRankCount)",
            "MASTER_ADDR": map.address(of: 0, plane: 0),
            "MASTER_PORT": "\(rendezvousPort)",
            "APUS_LAB": map.name,
            "APUS_NODE": "\(process.node.rawValue)",
            "APUS_NODE_NAME": map.nodes[process.node.rawValue].name,
            "APUS_NODE_COUNT": "\(map.nodes.count)",
            "APUS_ADDRESSES": planes.map { map.address(of: process.node, plane: $0) }
                .joined(separator: ","),
            "APUS_DEVICES": map.planes.map(\.name).joined(separator: ","),
            "APUS_TOKEN": token,
        ]
    }

    /// `command` in the namespace of its process, told where it is.
    func command(_ command: Command, of process: LabProcess) -> Command {
        var placed = command
        placed.words = ["ip", "netns", "exec", plan.namespace(of: process.node)] + command.words
        placed.environment = environment(of: process).merging(command.environment) { $1 }
        return placed
    }
}
