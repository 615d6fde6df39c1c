import ArgumentParser
import Cluster
import Foundation
import Topology

/// Ends a job that runs.
struct StopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop",
        abstract: "Ends a job in order, as Ctrl-C at its launcher does, and waits for its end.",
        discussion: """
            Requests under way are answered first, for the job's deadlines.drainSeconds; --now \
            does not wait for them. From another machine a job is named by its coordinator, with \
            the job's secret in APUS_TOKEN or in the file that APUS_TOKEN_FILE names; requests \
            under way then get an error. Exits with 2 when there is no such job, with 3 when it \
            does not end in time.

              apus stop
              apus stop tale --now
              APUS_TOKEN_FILE=token apus stop --coordinator 10.0.0.1:7000
            """)

    @Argument(help: "A job's name or folder; default the only job that runs.") var job: String?
    @Flag(help: "Do not wait for requests under way.") var now = false
    @Option(help: "Seconds for the job to end.") var seconds = 60.0
    @Option(help: "A coordinator's address:port, for a job of another machine.")
    var coordinator: String?

    func validate() throws {
        if !(seconds > 0 && seconds <= 86400) {
            throw ValidationError("--seconds \(seconds) is not above 0 and at most 86400")
        }
        if job != nil, coordinator != nil {
            throw ValidationError("a job's name and --coordinator: one says which job")
        }
        if now, coordinator != nil {
            throw ValidationError("--now: with --coordinator no request is waited for anyway")
        }
    }

    func run() throws {
        try reporting {
            let limit = Duration.seconds(seconds)
            if let coordinator {
                let end = try JobStop.stop(
                    at: try Endpoint(coordinator), token: ControlToken(for: JobConfiguration()),
                    limit: limit)
                guard end.exitStatus == .done else { throw ClusterError.ended(end) }
                print("\(end)")
            } else {
                let folder = try JobSelection.folder(job, mayHaveEnded: false)
                try JobStop.stop(folder, now: now, limit: limit)
                print("stopped \(folder.url.path(percentEncoded: false))")
            }
        }
    }
}
