import ArgumentParser
import Cluster
import Foundation

/// Lists the folders of jobs, and removes those of ended ones.
struct JobsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobs",
        abstract: "Lists the jobs of this user, ended ones too, or removes old folders.",
        discussion: """
            A job's folder holds its resolved configuration and its logs. When a job starts, the \
            folders of all but the newest \(JobFolder.keptEndedJobs) ended jobs are removed.

              apus jobs
              apus jobs prune --keep 0
            """,
        subcommands: [List.self, Prune.self], defaultSubcommand: List.self)

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the jobs, the newest first.")

        @Flag(help: "Print one JSON object.") var json = false

        func run() throws {
            try reporting {
                let reports = JobFolder.all().compactMap {
                    try? JobWatch.report(of: $0, asks: false)
                }
                if json {
                    let bytes = try JSONEncoder.forPeople.encode(["jobs": reports])
                    print(String(decoding: bytes, as: UTF8.self))
                } else {
                    for line in reports.flatMap(\.lines) { print(line) }
                }
            }
        }
    }

    struct Prune: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Removes the folders of ended jobs, but for the newest.")

        @Option(help: "Ended jobs that keep their folders.")
        var keep = JobFolder.keptEndedJobs

        func validate() throws {
            if keep < 0 { throw ValidationError("--keep \(keep) is below 0") }
        }

        func run() throws {
            try reporting {
                for folder in JobFolder.prune(keeping: keep) {
                    print("removed \(folder.url.path(percentEncoded: false))")
                }
            }
        }
    }
}
