import ArgumentParser
import Pipeline
import Planner
import Topology

/// `apus topology`: prints, draws and writes topology files.
struct TopologyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topology",
        abstract: "Prints and draws a topology file, or writes one for this machine.",
        subcommands: [Show.self, Discover.self])

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Checks a topology file, prints what it says, and draws it.")

        @Argument(help: "A topology file.")
        var file: String

        @Option(help: "Write the picture to this file.")
        var svg: String?

        @Flag(help: "Print one JSON object.")
        var json = false

        func run() throws {
            try reporting {
                let map = try NodeMap(contentsOf: file)
                let summary = TopologySummary(map)
                if let svg { try writeText(summary.diagram.svg(), to: svg) }
                if json { try printObject(map) } else { print(summary.text, terminator: "") }
            }
        }
    }

    struct Discover: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Writes a topology file of this machine from what the kernel says.",
            discussion: """
                Reads /sys and /proc: cores, NUMA domains, memory, rates of NICs, RDMA devices. \
                It measures nothing: comments in the file say which commands do.
                """)

        @Option(help: "Write to this file, not to standard output.")
        var output: String?

        func run() throws {
            try reporting {
                let text = MachineSurvey().yaml
                guard let output else { return print(text, terminator: "") }
                try writeText(text, to: output)
            }
        }
    }
}
