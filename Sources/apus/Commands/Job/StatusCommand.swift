import ArgumentParser
import Cluster
import Foundation

/// Looks at a job that runs.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows a running job: every rank's phase, step rate, tokens/s, all-to-all share.",
        discussion: """
            Without a folder it shows the job of this user that began last.

              apus status
              apus status --json
            """)

    @Argument(help: "A job's folder.") var folder: String?
    @Flag(help: "Print one JSON object.") var json = false

    func run() throws {
        try reporting {
            let snapshot = try JobWatch.snapshot(
                of: folder.map { JobFolder(URL(filePath: $0)) })
            if json {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
                print(String(decoding: try encoder.encode(snapshot), as: UTF8.self))
            } else {
                JobTable.lines(snapshot).forEach { print($0) }
            }
        }
    }
}
