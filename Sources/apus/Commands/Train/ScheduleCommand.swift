public import ArgumentParser
import Checkpoints
import Cluster
import Foundation
import Models
import Pipeline
import Topology

/// `apus schedule`: prints, checks and draws the order of work of a pipeline.
struct ScheduleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedule",
        abstract: "Prints, checks and draws a pipeline schedule, and compares it with the others.",
        discussion: """
            Examples:
              apus schedule --schedule dualpipe --ranks 8 --micro-batches 20
              apus schedule --schedule zbv --ranks 4 --micro-batches 16 --communication 0.5 --json
              apus schedule --ranks 8 --micro-batches 20 --svg dualpipe.svg --trace dualpipe.json

            Times are in any one unit. The SVG opens in a browser, the trace in Perfetto or
            chrome://tracing.
            """)

    @Option(help: "forward-only, 1f1b, zb1p, zbv, dualpipe or dualpipev.")
    var schedule = ScheduleKind.dualPipe

    @Option(help: "Processes in the pipeline.")
    var ranks = 8

    @Option(help: "Slices of the batch, over both directions.")
    var microBatches = 20

    @Option(help: "Time of a stage's forward.")
    var forward = 1.0

    @Option(help: "Time of a stage's input gradients.")
    var backwardInput = 1.0

    @Option(help: "Time of a stage's weight gradients.")
    var backwardWeight = 1.0

    @Option(help: "Time of an overlapped forward and backward; default: the sum of its parts.")
    var overlapped: Double?

    @Option(help: "Time of a transfer to the next rank.")
    var communication = 0.0

    @Option(help: "Write the picture to this file.")
    var svg: String?

    @Option(help: "Write a Chrome trace to this file.")
    var trace: String?

    @Option(help: "Draw this measured timeline (written by apus train) under the plan.")
    var measured: String?

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard measured == nil || svg != nil || trace != nil else {
            throw ValidationError("--measured is drawn into a picture: it needs --svg or --trace")
        }
        let times = [forward, backwardInput, backwardWeight, communication, overlapped ?? 0]
        guard times.allSatisfy({ $0 >= 0 && $0 <= 1e9 }), forward > 0 else {
            throw ValidationError("times go from 0 to 1e9, and --forward is above 0")
        }
        guard (1 ... 1024).contains(ranks), (1 ... 65536).contains(microBatches) else {
            throw ValidationError("ranks go from 1 to 1024, micro-batches from 1 to 65536")
        }
        guard ranks * microBatches <= Self.cellLimit else {
            throw ValidationError(
                "\(ranks) ranks with \(microBatches) micro-batches are "
                    + "\(ranks * microBatches) cells: at most \(Self.cellLimit) are planned")
        }
    }

    /// Ranks times micro-batches: 1024 ranks with the 2048 that DualPipe needs there, which takes a
    /// minute to write, prove and simulate under all schedules.
    private static let cellLimit = 1 << 21
    /// From where on it takes longer than a reader waits without a word.
    private static let longCellCount = 1 << 18

    func run() throws {
        if ranks * microBatches > Self.longCellCount {
            let words = "apus: planning \(ranks * microBatches) cells under every schedule\n"
            StandardStream.error.say(words)
        }
        let costs = StepCosts(
            forward: forward, backwardInput: backwardInput, backwardWeight: backwardWeight,
            overlapped: overlapped, communication: communication)
        let plan = try reporting {
            try schedule.schedule(ranks: ranks, microBatches: microBatches)
        }
        try plan.check()
        let result = plan.simulate(costs)
        try reporting { try writePictures(result.timeline, plan) }
        let report = ScheduleReport(plan: plan, costs: costs, result: result)
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            print(String(decoding: try encoder.encode(report), as: UTF8.self))
        } else {
            print(result.timeline.text(), terminator: "\n")
            print(report.text, terminator: "")
        }
    }

    private func writePictures(_ planned: Timeline, _ plan: Schedule) throws {
        var timelines = [planned]
        if let measured {
            guard let data = FileManager.default.contents(atPath: measured),
                let run = try? JSONDecoder().decode(Timeline.self, from: data)
            else {
                throw CheckpointError.file(
                    measured, fact: "is not a timeline that apus train wrote (NAME.json)")
            }
            if let difference = run.difference(from: plan) {
                throw CheckpointError.file(measured, fact: difference)
            }
            let factor = planned.end / max(run.end, .leastNormalMagnitude)
            timelines.append(
                run.scaled(by: factor, title: "\(run.title): drawn as long as the plan"))
        }
        if let svg {
            let unit = "time; a stage's forward takes \(ScheduleReport.number(forward))"
            try write(Data(Timeline.svg(timelines, axis: unit).utf8), to: svg)
        }
        if let trace { try write(Timeline.chromeTrace(timelines), to: trace) }
    }

    private func write(_ data: Data, to path: String) throws {
        do {
            try data.write(to: URL(filePath: path))
        } catch {
            throw CheckpointError.file(path, fact: "cannot be written")
        }
    }
}

extension ScheduleKind: ExpressibleByArgument {}

/// What `apus schedule --json` prints.
struct ScheduleReport: Encodable {
    /// One rank's share.
    struct RankReport: Encodable {
        let rank: Int
        let stages: [Int]
        let bubble: Double
        let peakActivations: Int
    }

    let schedule: String
    let stages: Int
    let microBatches: Int
    let makespan: Double
    let publishedBubble: Double?
    let ranks: [RankReport]
    let comparison: [ComparisonRow]

    init(plan: Schedule, costs: StepCosts, result: Simulation) {
        schedule = plan.kind.rawValue
        stages = plan.stageCount
        microBatches = plan.microBatchCount
        makespan = result.makespan
        publishedBubble = costs.exactBubble(plan)
        ranks = (0 ..< plan.rankCount).map { rank in
            RankReport(
                rank: rank, stages: plan.stages(of: Rank(rawValue: rank)).map(\.rawValue),
                bubble: result.bubbles[rank], peakActivations: result.peakActivations[rank])
        }
        comparison = plan.comparison(costs)
    }

    /// A time as people read it.
    static func number(_ value: Double) -> String {
        value == value.rounded() ? "\(Int(value))" : String(format: "%.2f", value)
    }

    /// The summary and the table as people read them.
    var text: String {
        let format = Self.number
        let bubbles = ranks.map { format($0.bubble) }.joined(separator: " ")
        let peaks = ranks.map { "\($0.peakActivations)" }.joined(separator: " ")
        var rows = [
            ["schedule", "stages", "makespan", "bubble", "share", "activations", "parameters"]
        ]
        for row in comparison {
            rows.append([
                (row.schedule.rawValue == schedule ? "* " : "  ") + row.schedule.title,
                "\(row.stages)", format(row.makespan), format(row.bubble),
                String(format: "%.1f%%", 100 * row.bubbleShare), format(row.peakActivations),
                "\(row.parameterCopies)x",
            ])
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        let table = rows.map { row in
            zip(row, widths).enumerated().map { column, cell in
                let padding = String(repeating: " ", count: cell.1 - cell.0.count)
                return column == 0 ? cell.0 + padding : padding + cell.0
            }.joined(separator: "  ")
        }
        let published = publishedBubble.map { ", closed form \(format($0))" } ?? ""
        return """
            makespan          \(format(makespan))\(published.isEmpty ? "" : " (bubble\(published))")
            bubble per rank   \(bubbles)
            activations       \(peaks)

            \(table.joined(separator: "\n"))

            The same model and ranks for all; a schedule with twice the stages has stages half as
            long. Activations are counted in stages of the chosen schedule.

            """
    }
}
