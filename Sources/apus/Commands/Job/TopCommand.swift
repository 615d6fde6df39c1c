import ArgumentParser
import Cluster
import Foundation
import Topology

/// Watches a job.
struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Watches a job: tokens/s, requests, cache, expert load, where step time goes.",
        discussion: """
            Redraws the screen until Ctrl-C, or until the job ends; where standard output is no \
            terminal it prints one table per update, as top -b does. The load of a rank is the \
            tokens for its experts over those of the mean rank. Below the ranks stands what each \
            sends to each, where up to 16 ranks fit the screen; else what each sends inside its \
            node, across nodes, and to whom most. Exits with 2 when no job runs, with 3 when it \
            does not answer.

              apus top
              apus top tale --interval 0.5
              apus top --count 1
              apus top --json --count 60 > figures.jsonl
            """)

    @Argument(help: "A job's name or folder; default the one that runs.") var job: String?
    @Option(help: "Seconds between two updates.") var interval = 1.0
    @Option(name: [.customShort("n"), .long], help: "Updates, then it ends; default no end.")
    var count: Int?
    @Flag(help: "Print one JSON object per update and line.") var json = false

    func validate() throws {
        guard (0.1 ... 3600).contains(interval) else {
            throw ValidationError("--interval \(interval) is outside 0.1...3600")
        }
        if let count, count < 1 { throw ValidationError("--count \(count) is below 1") }
    }

    func run() throws {
        try reporting {
            let folder = try JobSelection.folder(job, mayHaveEnded: false)
            let stop = StopFlag.onSignals()
            let isScreen = !json && isatty(STDOUT_FILENO) == 1
            // A screen of its own, so that what stood there before comes back; cut, not wrapped.
            if isScreen { try StandardStream.output.write("\u{1b}[?1049h\u{1b}[?7l\u{1b}[?25l") }
            let last: JobReport
            do {
                defer {
                    if isScreen { StandardStream.output.say("\u{1b}[?25h\u{1b}[?7h\u{1b}[?1049l") }
                }
                last = try watch(folder, stop, isScreen)
            }
            if last.state == "ended" {
                let end = last.snapshot?.end.map { ": \($0)" } ?? ""
                StandardStream.error.say("the job \(last.name) has ended\(end)\n")
            } else if last.error != nil {
                StandardStream.error.say(last.lines.joined(separator: "\n") + "\n")
                throw ExitCode(.lost)
            }
        }
    }

    /// Shows the job again and again.
    ///
    /// - Returns: What the last update showed.
    private func watch(
        _ folder: JobFolder, _ stop: StopFlag, _ isScreen: Bool
    ) throws -> JobReport {
        var updates = 0
        while true {
            let began = ContinuousClock.now
            let report = try JobWatch.report(of: folder)
            guard !report.state.hasPrefix("on ") else {
                throw ClusterError.badInput(
                    "the job \(report.name) runs \(report.state): ask there")
            }
            try show(report, isScreen)
            updates += 1
            let isOver = report.error != nil || report.state == "ended"
            if isOver || updates == count { return report }
            let due = began + .seconds(interval)
            while .now < due {
                if stop.isRaised { return report }
                Thread.sleep(forTimeInterval: 0.02)
            }
        }
    }

    private func show(_ report: JobReport, _ isScreen: Bool) throws {
        if json {
            let encoder = JSONEncoder.forPeople
            encoder.outputFormatting.remove(.prettyPrinted)
            let line = String(decoding: try encoder.encode(report), as: UTF8.self)
            return try StandardStream.output.write(line + "\n")
        }
        let (rows, columns) = isScreen ? Terminal.size() : (rows: .max, columns: .max)
        let lines = TopTable.lines(report, rows: rows - 1, columns: columns, now: .now)
        if isScreen {
            let text = lines.map { $0 + "\u{1b}[K\r\n" }.joined()
            try StandardStream.output.write("\u{1b}[H" + text + "\u{1b}[J")
        } else {
            try StandardStream.output.write(lines.joined(separator: "\n") + "\n\n")
        }
    }
}
