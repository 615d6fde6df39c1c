import ArgumentParser
import Cluster
import Foundation
import Serving
import Topology

/// Ends a server or job once what runs is answered, or lets one rank leave.
struct DrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract: "Ends a server or job once what runs is answered, or takes one rank out.",
        discussion: """
            New requests are refused with 503 and Retry-After from now on, and /health answers \
            503, so that a load balancer sends them elsewhere. When no text is under way, or after \
            --seconds, the job ends as apus stop ends it. The server must have a key marked \
            admin: true (api.keyFile). The command sends that key from APUS_ADMIN_KEY, or from \
            the file of keys; for a job of this machine the job's own file. It asks by curl, \
            without following redirections, and sends the key to another machine over https:// \
            alone, or with --plain. The end is seen when nobody listens at the port any more.

            With --rank one rank leaves for maintenance, and the job goes on. It gets no new \
            request, the others read the experts that only it holds while all serve, then its \
            texts go on at others and its process ends with 0. No text changes. The launcher does \
            not start it again: with apus scale, or by hand (apus-worker --rank), it comes back. A \
            job of this machine needs no key for it: its coordinator is asked, with the secret in \
            the job's folder. \
            The command waits for as long as the job may take (deadlines.connectSeconds and \
            loadSeconds), and a minute; exit code 3 says that the rank may still leave.

              apus drain
              apus drain tale --seconds 600
              apus drain tale --rank 2
              APUS_ADMIN_KEY=... apus drain https://tale.example:8080
            """)

    @Argument(help: "A URL, or a job's name or folder; default the only job that runs.")
    var target: String?
    @Option(help: "The rank that leaves; without it the whole job ends.") var rank: Int?
    @Option(help: "Seconds to wait for texts under way; default 300, not with --rank.")
    var seconds: Int?
    @Option(help: "A file of named keys, whose first admin's key is sent.") var keyFile: String?
    @Flag(help: "Send the key to another machine over http://, in clear.") var plain = false

    func validate() throws {
        if let seconds, !(1 ... 86400).contains(seconds) {
            throw ValidationError("--seconds \(seconds) is not 1 to 86400")
        }
        if let rank, rank < 0 { throw ValidationError("--rank \(rank) is not 0 or more") }
        if rank != nil, seconds != nil {
            throw ValidationError(
                "--seconds says when a job ends: a rank leaves as soon as others have its experts")
        }
        if rank != nil, !isURL, keyFile != nil || plain {
            throw ValidationError(
                "--key-file and --plain go with a URL: a rank of a job of this machine leaves by "
                    + "the job's own secret")
        }
    }

    private var isURL: Bool { target?.contains("://") ?? false }

    /// For texts under way when the job is to end.
    private static let defaultSeconds = 300

    func run() throws {
        try reporting {
            if let rank { return print("rank \(rank) of \(try drained(rank)) is drained") }
            let (url, file, isOurs) = try place()
            let seconds = seconds ?? Self.defaultSeconds
            // The job's own drain limit comes after.
            let client = try OperatorClient(
                url, keyFile: keyFile ?? file, allowsPlain: plain || isOurs,
                limit: .seconds(seconds + 60))
            try client.end("/admin/drain?seconds=\(seconds)", again: "/admin/drain") { texts in
                StandardStream.error.say("\(texts) texts under way\n")
            }
            print("drained \(url)")
        }
    }

    /// Has a rank leave, and waits until it has.
    ///
    /// - Returns: What it was a rank of.
    private func drained(_ rank: Int) throws -> String {
        if let target, isURL {
            let client = try OperatorClient(
                target, keyFile: keyFile, allowsPlain: plain,
                limit: JobConfiguration.Deadlines.longestLeaving)
            try client.drain(rank: rank)
            return target
        }
        let folder = try JobSelection.here(target)
        let path = folder.url.path(percentEncoded: false)
        let job = try JobConfiguration(contentsOf: folder.configuration.path(percentEncoded: false))
        guard (0 ..< job.ranks).contains(rank) else {
            throw ClusterError.badInput(
                "rank \(rank) is out of range: the job has \(job.ranks) ranks, from 0")
        }
        let link = try JobPlacement.link(to: path, coordinator: nil)
        defer { link.close() }
        do throws(ClusterError) {
            try link.drain(Rank(rawValue: rank), limit: job.deadlines.leaving)
        } catch .deadline(let words) {
            throw ClusterError.deadline(
                "\(words) (deadlines.connectSeconds and loadSeconds, and a minute): rank \(rank) "
                    + "may still leave; apus status \(job.name) says whether it has")
        }
        return "the job \(job.name)"
    }

    /// Where the server is, the job's own file of keys, and whether it is a job of this machine,
    /// which is reached over no network.
    private func place() throws -> (url: String, keyFile: String?, isOurs: Bool) {
        if let target, isURL { return (target, nil, false) }
        let folder = try JobSelection.here(target)
        let job = try JobConfiguration(
            contentsOf: folder.configuration.path(percentEncoded: false))
        guard let serving = job.serving, let http = (try? folder.endpoints())?.http else {
            throw ClusterError.badInput(
                "the job \(job.name) has no HTTP API: apus stop ends it")
        }
        let settings = try serving.api.applied(to: OpenAIServerConfiguration(), section: "api")
        guard keyFile != nil || !settings.keyFile.isEmpty else {
            throw ClusterError.badInput(
                "the job \(job.name) has no api.keyFile with an admin's key: apus stop ends it")
        }
        return (http.url(), settings.keyFile.isEmpty ? nil : settings.keyFile, true)
    }
}
