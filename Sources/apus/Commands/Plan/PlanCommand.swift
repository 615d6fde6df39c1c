import ArgumentParser
import Foundation
import Planner
import Topology

/// `apus plan`: what a model costs on a cluster, before it is bought.
struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Computes what a model costs on a described cluster; lays out a job's ranks.",
        discussion: """
            With a job file it is a dry run: ranks, experts and bytes of every host beside its \
            free memory, the cache that fits, the ports, and every command. Exits with 1 where a \
            check of the hosts fails (apus doctor says more).

            Examples:
              apus plan cluster/local.yaml
              apus plan --topology topology/h800-2048-mpft.yaml --model deepseek-v3 \
            --phase decode --ep 144 --redundant-experts 32 --batch 88 --context 4989
              apus plan --topology topology/h800-2048-mpft.yaml --model deepseek-v3 \
            --phase train --pp 16 --ep 64 --batch 120 --explain
              apus plan recommend --topology topology/epyc-8-nodes-100g-roce.yaml \
            --model deepseek-v3 --phase decode --svg plans.svg
              apus plan published
              apus plan check

            What the model leaves out stands at the end of every plan.
            """,
        subcommands: [
            Show.self, RecommendCommand.self, PublishedCommand.self, CheckCommand.self,
        ],
        defaultSubcommand: Show.self)

    /// One plan.
    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Computes one plan. The default.")

        @Argument(
            help: "A job file, whose hosts are asked; without it, --topology, --model, --phase.")
        var file: String?

        @OptionGroup var options: PlanOptions

        @Option(help: "Requests (decode), prompts or sequences (train) of a data-parallel copy.")
        var batch = 1

        @Option(help: "Ranks that share the routed experts (default: DP x TP).")
        var ep: Int?

        @Option(help: "Stages of the pipeline.")
        var pp = 1

        @Option(help: "Copies of what is not an expert (default: what EP or the cluster gives).")
        var dp: Int?

        @Option(help: "Ranks that share attention.")
        var tp = 1

        @Option(help: "Copies of experts beyond one of each.")
        var redundantExperts = 0

        @Flag(help: "Print every number's formula and source.")
        var explain = false

        @Flag(help: "Print one JSON object: the figures with their formulas and sources.")
        var json = false

        func run() throws {
            try reporting {
                if let file { return try JobPlan.show(file, json: json) }
                var request = try options.request()
                (request.ep, request.pp, request.dp, request.tp) = (ep, pp, dp, tp)
                (request.redundantExperts, request.batch) = (redundantExperts, batch)
                let report = try Plan(request).report
                if json {
                    try printObject(report)
                } else {
                    print(report.text(explained: explain), terminator: "")
                }
            }
        }
    }
}

/// Prints one JSON object with sorted keys.
func printObject(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
