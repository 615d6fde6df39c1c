import ArgumentParser
import Cluster
import Foundation
import Language
import Models
import Serving
import Topology

/// `apus generate`: writes text with a model on this machine.
struct GenerateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Writes text with a model, streaming it as it comes.",
        discussion: """
            Examples:
              apus generate --model cluster/models/stories-fp8 --prompt "Once upon a time"
              apus generate --model cluster/models/stories-fp8 --interactive
              apus generate --model DIR --prompt-tokens 0,436,446 --temperature 0 --json
              apus generate --model DIR --file question.txt --chat --speculative mtp --ranks 2

            In interactive mode /clear forgets the conversation and /exit ends it.
            """)

    @OptionGroup var arguments: ModelArguments

    @Option(help: "The text to continue.")
    var prompt: String?

    @Option(help: "A file with the text to continue.")
    var file: String?

    @Option(help: "Token ids to continue, comma-separated.")
    var promptTokens: String?

    @Flag(help: "Converse on the terminal.")
    var interactive = false

    @Flag(help: "Treat the prompt as a user's message and write the assistant's answer.")
    var chat = false

    @OptionGroup var style: ChatArguments

    @Option(help: "Most tokens to write.")
    var maxNewTokens = 256

    @OptionGroup var sampling: SamplingArguments

    @Option(help: "Ranks that share the experts, as threads of this process.")
    var ranks = 1

    @Option(help: "mtp drafts tokens with the model's MTP block; off does not.")
    var speculative = Speculation.off

    @Flag(help: "Print JSON with tokens and text.")
    var json = false

    /// `--speculative`.
    enum Speculation: String, ExpressibleByArgument, CaseIterable { case mtp, off }

    func validate() throws {
        let given = [prompt != nil, file != nil, promptTokens != nil, interactive].count { $0 }
        guard given == 1 else {
            throw ValidationError("give one of --prompt, --file, --prompt-tokens, --interactive")
        }
        guard (1 ... 1 << 20).contains(maxNewTokens) else {
            throw ValidationError("--max-new-tokens \(maxNewTokens) is outside 1...1048576")
        }
        guard (1 ... 64).contains(ranks) else {
            throw ValidationError("--ranks \(ranks) is outside 1...64")
        }
    }

    func run() async throws {
        do { try await generate() } catch { try reporting { throw error } }
    }

    private func generate() async throws {
        let shape = try ModelConfiguration.load(directory: arguments.model)
        if speculative == .mtp {
            let folder = try ModelFolder(directory: arguments.model)
            guard folder.configuration.mtpLayerCount > 0 else {
                throw ModelError.request(
                    "drafts need an MTP block; "
                        + (shape.mtpLayerCount > 0
                            ? "the folder holds none, though num_nextn_predict_layers is "
                                + "\(shape.mtpLayerCount)"
                            : "the model has none (num_nextn_predict_layers)"))
            }
        }
        let context = (tokens: shape.contextLimit, key: shape.contextLimitKey)
        guard !interactive else {
            let ranks = try start(cacheTokens: context.tokens)
            defer { ranks.stop() }
            return try await converse(LocalGenerator(ranks, sampling.parameters), context)
        }
        let prompt = try readPrompt()
        let count = try newTokens(after: prompt, context)
        // The token that ends a text may need a place too.
        let ranks = try start(cacheTokens: prompt.count + count + 1)
        defer { ranks.stop() }
        try await write(prompt, count, LocalGenerator(ranks, sampling.parameters))
    }

    /// Loads the model on its ranks.
    private func start(cacheTokens: Int) throws -> LocalRanks {
        try sampling.parameters.validate(
            vocabularySize: ModelConfiguration.load(directory: arguments.model).vocabularySize)
        var rank = arguments.rank(ranks: ranks)
        try ComputeNotes.say(threads: rank.threads * ranks)
        rank.cacheTokens = cacheTokens
        rank.engine.speculates = speculative == .mtp
        let bar = ProgressBar("loading")
        defer { bar.finish() }
        return try LocalRanks(rank, ranks: ranks, note: ModelArguments.note) { rank, phase in
            if rank == 0, case .load(let progress?) = phase { bar.show(progress) }
        }
    }

    /// Tokens to write at most: what was asked for, or what the context leaves.
    private func newTokens(
        after prompt: [Int], _ context: (tokens: Int, key: String)
    ) throws -> Int {
        guard prompt.count < context.tokens else {
            throw ModelError.request(
                "\(prompt.count) tokens and one more exceed the context of \(context.tokens) "
                    + "(\(context.key))")
        }
        return min(maxNewTokens, context.tokens - prompt.count)
    }

    private func tokenizer() throws -> Tokenizer {
        try Tokenizer(directory: URL(filePath: arguments.model))
    }

    /// The ids of the prompt.
    private func readPrompt() throws -> [Int] {
        if let promptTokens {
            return try promptTokens.split(separator: ",").map { part in
                guard let id = Int(part.trimmingCharacters(in: .whitespaces)) else {
                    throw ModelError.request("--prompt-tokens: \(part) is not a token id")
                }
                return id
            }
        }
        guard let text = try prompt ?? file.map(readText) else { return [] }
        return try chat
            ? ids(of: [ChatMessage(role: .user, content: text)]) : tokenizer().encode(text)
    }

    private func ids(of messages: [ChatMessage]) throws -> [Int] {
        let template = try ChatTemplate(
            directory: URL(filePath: arguments.model), named: style.chatStyle)
        guard template.style != .gptOss else {
            throw ModelError.request(
                "apus generate reads no answers in channels, as gpt-oss writes them: use apus serve"
            )
        }
        return try template.render(messages).ids(tokenizer())
    }

    /// Writes one text.
    private func write(
        _ prompt: [Int], _ count: Int, _ generator: LocalGenerator
    ) async throws {
        // A model without a tokenizer still runs on token ids.
        let tokenizer = promptTokens == nil ? try tokenizer() : try? tokenizer()
        let start = ContinuousClock.now
        var decoder = tokenizer.map { StreamingDecoder(tokenizer: $0) }
        let text = try await generator.generate(prompt, maxNewTokens: count) { token in
            if !json, let text = decoder?.append(token) { try show(text) }
        }
        let elapsed = (ContinuousClock.now - start) / .seconds(1)
        if json {
            let report = GenerationReport(
                tokens: text.tokens, text: tokenizer?.decode(text.tokens),
                promptTokens: prompt.count, seconds: elapsed, draftAcceptance: text.acceptance)
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            print(String(decoding: try encoder.encode(report), as: UTF8.self))
        } else {
            try show((decoder?.finish() ?? "") + "\n")
            if let rate = text.acceptance {
                let line = String(format: "drafts accepted: %.1f%%\n", rate * 100)
                StandardStream.error.say(line)
            }
        }
    }

    /// A conversation on the terminal.
    private func converse(
        _ generator: LocalGenerator, _ context: (tokens: Int, key: String)
    ) async throws {
        var messages: [ChatMessage] = []
        let tokenizer = try tokenizer()
        while true {
            try show("> ")
            guard let line = readLine() else { return try show("\n") }
            switch line.trimmingCharacters(in: .whitespaces) {
            case "/exit": return
            case "/clear": messages = []
            case "": continue
            default:
                messages.append(ChatMessage(role: .user, content: line))
                let prompt = try ids(of: messages)
                let count = try newTokens(after: prompt, context)
                var decoder = StreamingDecoder(tokenizer: tokenizer)
                let text = try await generator.generate(prompt, maxNewTokens: count) {
                    try show(decoder.append($0))
                }
                try show(decoder.finish() + "\n")
                messages.append(
                    ChatMessage(role: .assistant, content: tokenizer.decode(text.tokens)))
            }
        }
    }

    private func show(_ text: String) throws { try StandardStream.output.write(text) }
}

/// What `apus generate --json` prints.
struct GenerationReport: Encodable {
    let tokens: [Int]
    let text: String?
    let promptTokens: Int
    let seconds: Double
    let draftAcceptance: Double?
}
