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
            does not wait for them. From another machine a job is named by the URL of its API, \
            with the key of APUS_ADMIN_KEY or of --key-file and the rules of apus drain, or by its \
            coordinator, with the job's secret in APUS_TOKEN or in the file that APUS_TOKEN_FILE \
            names; requests under way then get an error. Exits with 2 when there is no such job, \
            with 3 when it does not end in time.

              apus stop
              apus stop tale --now
              APUS_ADMIN_KEY=... apus stop --url https://tale.example:8080
              APUS_TOKEN_FILE=token apus stop --coordinator 10.0.0.1:7000
            """)

    @Argument(help: "A job's name or folder; default the only job that runs.") var job: String?
    @Flag(help: "Do not wait for requests under way.") var now = false
    @Option(help: "Seconds for the job to end.") var seconds = 60.0
    @Option(help: "A coordinator's address:port, for a job of another machine.")
    var coordinator: String?
    @Option(help: "The URL of a server or job, whose key of an admin is sent.") var url: String?
    @Option(help: "A file of named keys, whose first admin's key is sent to --url.")
    var keyFile: String?
    @Flag(help: "Send the key to another machine over http://, in clear.") var plain = false

    func validate() throws {
        if !(seconds > 0 && seconds <= 86400) {
            throw ValidationError("--seconds \(seconds) is not above 0 and at most 86400")
        }
        if [job, coordinator, url].count(where: { $0 != nil }) > 1 {
            throw ValidationError("a job's name, --coordinator and --url: one says which job")
        }
        if keyFile != nil, url == nil {
            throw ValidationError("--key-file: it goes with --url")
        }
        if plain, url == nil {
            throw ValidationError("--plain: it goes with --url")
        }
        if now, coordinator != nil {
            throw ValidationError("--now: with --coordinator no request is waited for anyway")
        }
    }

    func run() throws {
        try reporting {
            let limit = Duration.seconds(seconds)
            if let url {
                let path = "/admin/stop" + (now ? "?now=true" : "")
                let client = try OperatorClient(
                    url, keyFile: keyFile, allowsPlain: plain, limit: limit)
                try client.end(path, again: path) { _ in }
                print("stopped \(url)")
            } else if let coordinator {
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
