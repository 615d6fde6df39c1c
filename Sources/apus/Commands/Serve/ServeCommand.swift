import ArgumentParser
import Checkpoints
import Cluster
import Foundation
import Language
import Logging
import Models
import Serving
import Topology

/// `apus serve`: a model behind the OpenAI API, in one process.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serves a model over the OpenAI API from one process.",
        discussion: """
            Examples:
              apus serve --model cluster/models/stories-fp8
              apus serve --model DIR --ranks 2 --threads 1 --port 8080 --key SECRET
              apus serve --model DIR --group prefill:1 --group decode:2

            Ranks are threads of the process. For processes and machines see apus launch.
            """)

    @OptionGroup var arguments: ModelArguments

    @Option(help: "Ranks that share the experts.")
    var ranks = 1

    @Option(
        help: ArgumentHelp(
            "A group of ranks with its role, prefill:RANKS or decode:RANKS, in place of --ranks.",
            valueName: "role:ranks"))
    var group: [RoleGroup] = []

    @Option(
        help: "Least seconds between changes of a group's role, which follow the load; 0: none.")
    var rebalanceRoles = 0.0

    @Option(help: "Interface to listen on, numeric.")
    var address = "127.0.0.1"

    @Option(help: "Port to listen on; 0 takes a free one.")
    var port = 8080

    @OptionGroup var chat: ChatArguments

    @Option(help: "A key that clients must send.")
    var key: [String] = []

    @Option(help: "A file of named keys and their limits, read again when it changes.")
    var apiKeyFile: String?

    @Option(help: "A PEM file with the certificate and its chain: HTTPS in place of HTTP.")
    var tlsCertificate: String?

    @Option(help: "A PEM file with the certificate's key, which its owner alone may read.")
    var tlsKey: String?

    @Option(help: "An origin whose pages may use the API in a browser; * is every one.")
    var cors: [String] = []

    @Option(help: "A file with one line per request.")
    var accessLog: String?

    @Option(help: "A folder for /v1/files and /v1/batches, which go on after a restart.")
    var batchFolder: String?

    @Option(help: "Tokens whose latents each rank keeps.")
    var cacheTokens = 65_536

    @Option(help: "A folder that keeps computed prefixes of prompts after the end.")
    var prefixFolder: String?

    @Option(help: "Bytes that the files of --prefix-folder may have together.")
    var prefixBytes = 8 << 30

    @Option(help: "mtp drafts where the checkpoint can, off does not.")
    var speculative = GenerateCommand.Speculation.mtp

    @Option(help: "Requests in a rank's batch.")
    var batch = 64

    @Flag(inversion: .prefixedNo, help: "Split steps so that all-to-all hides.")
    var overlap = true

    func validate() throws {
        guard (1 ... 1024).contains(ranks) else {
            throw ValidationError("--ranks \(ranks) is outside 1...1024")
        }
        guard rebalanceRoles == 0 || (1 ... 86400).contains(rebalanceRoles) else {
            throw ValidationError("--rebalance-roles \(rebalanceRoles) is neither 0 nor 1...86400")
        }
        if rebalanceRoles > 0, group.count < 3 {
            throw ValidationError(
                "--rebalance-roles: \(group.count) groups (--group); a group may leave a role that"
                    + " another one has, so there are at least three")
        }
        _ = try groups()
    }

    /// The ranks, and what each does.
    private func groups() throws -> RankGroupMap {
        guard !group.isEmpty else { return .one(.serve, rankCount: ranks) }
        let map = try RankGroupMap(
            group.enumerated().map { index, group in
                RankGroup(
                    name: "\(group.role.rawValue)-\(index)", role: group.role,
                    rankCount: group.ranks)
            })
        guard map.handsOver, ranks == 1, map.rankCount <= 64 else {
            throw ValidationError(
                "--group names \(map.rankCount) ranks: at most 64 are one process, some of them"
                    + " prefill and some decode, and --ranks is left out")
        }
        return map
    }

    func run() async throws {
        let (server, ranks) = try reporting { try prepare() }
        do {
            try await server.runUntilSignal()
        } catch {
            ranks.stop()
            try reporting { throw error }
        }
        ranks.stop()
    }

    private func prepare() throws -> (OpenAIServer, LocalRanks) {
        let groups = try groups()
        var rank = arguments.rank(ranks: groups.rankCount)
        try ComputeNotes.say(threads: rank.threads * groups.rankCount)
        rank.cacheTokens = cacheTokens
        rank.prefixes = prefixFolder.map { PrefixSettings(folder: $0, byteLimit: prefixBytes) }
        rank.warn = { StandardStream.error.say("warning: \($0)\n") }
        rank.engine.speculates = speculative == .mtp
        rank.engine.overlaps = overlap
        rank.engine.runningLimit = batch
        var configuration = OpenAIServerConfiguration()
        configuration.address = Endpoint(address: address, port: port).address
        configuration.port = port
        configuration.keys = key
        configuration.keyFile = apiKeyFile ?? ""
        configuration.tls.certificate = tlsCertificate ?? ""
        configuration.tls.key = tlsKey ?? ""
        configuration.cors = cors
        configuration.accessLog.file = accessLog ?? ""
        configuration.batchFolder = batchFolder ?? ""
        try configuration.validate()
        try configuration.checkFiles()
        let text = try ModelText(
            directory: arguments.model, chatStyle: chat.chatStyle?.rawValue)
        if let refusal = text.chatRefusal {
            StandardStream.error.say("chats are refused: \(refusal)\n")
        }
        let roots = try prefixFolder.map(PrefixRoots.init(folder:)) ?? PrefixRoots()
        let rule =
            rebalanceRoles == 0
            ? nil
            : RoleRule(
                interval: .seconds(rebalanceRoles), stepTokens: rank.engine.stepTokens)
        let started = try LocalRanks(
            rank, groups: groups, roleRule: rule,
            rolesChanged: { StandardStream.error.say("\($0)\n") }, note: ModelArguments.note)
        let (host, isSecure) = (address, configuration.tls.isOn)
        let server = try OpenAIServer(
            configuration, text: text, router: started.router, grammars: rank.grammars,
            prefixes: roots, log: Logger(label: "apus")
        ) { port in
            var endpoint = Endpoint(address: host, port: port)
            if isSecure { endpoint.isSecure = true }
            print("serving \(text.name) on \(endpoint.url("/v1"))")
            fflush(nil)
        }
        return (server, started)
    }
}

/// A group of ranks as an option names it: `prefill:1`, `decode:2`.
struct RoleGroup: ExpressibleByArgument {
    let role: RankRole
    let ranks: Int

    init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let role = RankRole(rawValue: String(parts[0])),
            role == .prefill || role == .decode, let ranks = Int(parts[1]), ranks > 0
        else { return nil }
        (self.role, self.ranks) = (role, ranks)
    }
}
