import ArgumentParser
import Checkpoints
import Cluster
import Foundation
import Language
import Logging
import Models
import Serving

/// `apus serve`: a model behind the OpenAI API, in one process.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serves a model over the OpenAI API from one process.",
        discussion: """
            Examples:
              apus serve --model cluster/models/stories-fp8
              apus serve --model DIR --ranks 2 --threads 1 --port 8080 --key SECRET

            Ranks are threads of the process. For processes and machines see apus launch.
            """)

    @OptionGroup var arguments: ModelArguments

    @Option(help: "Ranks that share the experts.")
    var ranks = 1

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
        var rank = arguments.rank(ranks: ranks)
        try ComputeNotes.say(threads: rank.threads * ranks)
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
        let started = try LocalRanks(rank, ranks: ranks, note: ModelArguments.note)
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
