import ArgumentParser
import Cluster
import Foundation
import Topology

/// Shows the jobs that run.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows running jobs: every rank's phase, step rate, tokens/s, all-to-all share.",
        discussion: """
            Without a name or folder it shows every job of this user, also one whose coordinator \
            was started by hand. Exits with 2 when none runs, with 3 when one does not answer.

              apus status
              apus status tale
              apus status --json
            """)

    @Argument(help: "A job's name or folder; default every job that runs.") var job: String?
    @Flag(help: "Print one JSON object: the jobs, or the job that was named.") var json = false

    func run() throws {
        try reporting {
            if let job {
                let folder = try JobSelection.folder(job, mayHaveEnded: true)
                let report = try JobWatch.report(of: folder)
                if json { try printJSON(report) } else { show([report]) }
                try check([report])
            } else {
                let reports = JobWatch.running()
                if json {
                    try printJSON(["jobs": reports])
                } else if reports.isEmpty {
                    let root = JobFolder.root.path(percentEncoded: false)
                    throw ClusterError.badInput("no job runs (searched \(root))")
                } else {
                    show(reports)
                }
                if reports.isEmpty { throw ExitCode(.badInput) }
                try check(reports)
            }
        }
    }

    private func show(_ reports: [JobReport]) {
        for (index, report) in reports.enumerated() {
            if index > 0 { print() }
            report.lines.forEach { print($0) }
            if let snapshot = report.snapshot { JobTable.lines(snapshot).forEach { print($0) } }
        }
    }

    private func printJSON(_ value: some Encodable) throws {
        print(String(decoding: try JSONEncoder.forPeople.encode(value), as: UTF8.self))
    }

    private func check(_ reports: [JobReport]) throws {
        if reports.contains(where: { $0.error != nil }) { throw ExitCode(.lost) }
    }
}

extension JSONEncoder {
    /// What `--json` prints about jobs: keys in order, times as RFC 3339 says.
    static var forPeople: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        return encoder
    }
}
