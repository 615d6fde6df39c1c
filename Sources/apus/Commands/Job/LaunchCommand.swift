import ArgumentParser
import Cluster
import Foundation
import Glibc
import Language
import Serving
import Synchronization
import Tensors
import Topology

/// Starts a coordinator and the workers of a job, and stays until it ends.
struct LaunchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "launch",
        abstract: "Runs a job on this machine: a coordinator, its workers, and the HTTP API.",
        discussion: """
            Shows every rank's way through join, connect, load, warm up and ready, and serves \
            until Ctrl-C; a second Ctrl-C does not wait for requests under way. Logs and the \
            resolved configuration are kept in the job's folder (apus jobs). When a rank is lost, \
            the others take over its experts and its requests, and the job goes on \
            (onLostRank). Exits with 0 when stopped, 2 for bad input, 3 when no rank was left to \
            go on or a deadline passed.

              apus launch cluster/local.yaml
              apus launch cluster/local.yaml --ranks 4 --model models/other --http-port 0
              apus launch cluster/local.yaml --ask "Tell me a story about dog and ball."
            """)

    @Argument(help: "A job file: see cluster/job.schema.json.") var job: String
    @Option(help: "Workers, instead of the job's count.") var ranks: Int?
    @Option(help: "Threads per rank, instead of the job's.") var threads: Int?
    @Option(help: "The model's folder, instead of the job's.") var model: String?
    @Option(help: "Whose rules chats follow, instead of the job's.")
    var chatStyle: ChatTemplate.Style?
    @Option(help: "auto, shm, tcp, ucx or rdma, instead of the job's.")
    var transport: TransportKind?
    @Option(help: "Port of the HTTP API, instead of the job's; 0 takes a free one.")
    var httpPort: Int?
    @Option(help: "Ask this once the job serves, stream the answer, and go on serving.")
    var ask: String?

    func run() throws {
        try reporting { try launched() }
    }

    private func launched() throws {
        // Input is read before signals are ours, so that Ctrl-C ends a read that hangs. From then
        // on Ctrl-C is ours: nothing may be started that it could orphan.
        let launcher = try Launcher(configured())
        let stop = StopFlag.onSignals()
        let screen = JobScreen(isTerminal: isatty(STDOUT_FILENO) == 1, stop: stop)
        screen.say("job folder: \(launcher.folder.url.path(percentEncoded: false))")
        try launcher.run(
            stop: stop,
            display: Launcher.Display(
                snapshot: { screen.show($0) },
                ready: { [ask] endpoint in
                    screen.say("serving on \(endpoint.url("/v1"))")
                    if let ask { Answering(screen: screen, endpoint: endpoint).start(ask) }
                }, told: { screen.say($0) }))
        try screen.check()
        screen.say("the job was stopped")
        try screen.check()
    }

    private func configured() throws -> JobConfiguration {
        var configuration = try JobConfiguration(contentsOf: job)
        if let ranks { try configuration.resize(ranks: ranks) }
        configuration.threads = threads ?? configuration.threads
        configuration.transport = transport ?? configuration.transport
        configuration.http.port = httpPort ?? configuration.http.port
        if let model {
            guard configuration.serving != nil else {
                throw ClusterError.badInput("--model \(model): the job trains and serves no model")
            }
            configuration.serving?.model = URL(filePath: model).standardizedFileURL.path(
                percentEncoded: false)
        }
        if let chatStyle {
            guard configuration.serving != nil else {
                throw ClusterError.badInput(
                    "--chat-style \(chatStyle.rawValue): the job trains and serves no model")
            }
            configuration.serving?.chatStyle = chatStyle.rawValue
        }
        try configuration.validate(path: job)
        // Known before anything starts, so it is one error and not one per rank.
        if let serving = configuration.serving {
            if !serving.chatStyle.isEmpty { _ = try ChatTemplate.Style(named: serving.chatStyle) }
            var rank = ServingRankConfiguration(directory: serving.model)
            rank.engine = try serving.engine.applied(to: rank.engine, section: "engine")
            rank.cacheTokens = configuration.limits.cacheTokens
            rank.contextTokens =
                configuration.limits.contextTokens > 0 ? configuration.limits.contextTokens : nil
            rank.cacheFormat = serving.cacheFormat.flatMap { EntryFormat(name: $0.rawValue) }
            rank.threads = configuration.threads
            for group in configuration.groups.groups {
                try rank.validate(ranks: group.rankCount, ranksHere: configuration.ranks)
            }
        }
        return configuration
    }
}
