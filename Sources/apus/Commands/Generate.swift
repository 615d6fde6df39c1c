import ArgumentParser
import Cluster
import Foundation
import Language
import Models

/// `apus generate`: writes text with a model on this machine.
struct GenerateCommand: ParsableCommand {
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

    func run() throws {
        try reporting {
            let prompt = try readPrompt()
            try onRanks(ranks, arguments) { loaded in
                try interactive ? converse(loaded) : write(prompt, loaded)
            }
        }
    }

    private var options: TextGenerator.Options {
        TextGenerator.Options(sampling: sampling.parameters, drafts: speculative == .mtp)
    }

    private func tokenizer() throws -> Tokenizer {
        try Tokenizer(directory: URL(filePath: arguments.model))
    }

    /// The ids of the prompt; empty in interactive mode.
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
        try ChatTemplate(directory: URL(filePath: arguments.model)).render(messages)
            .ids(tokenizer())
    }

    /// Writes one text.
    private func write(_ prompt: [Int], _ loaded: LoadedModel) throws {
        // A model without a tokenizer still runs on token ids.
        let tokenizer = promptTokens == nil ? try tokenizer() : try? tokenizer()
        let generator = try TextGenerator(
            loaded.model, cache: loaded.cache(tokens: prompt.count + maxNewTokens + 2),
            options: options)
        let start = ContinuousClock.now
        var decoder = tokenizer.map { StreamingDecoder(tokenizer: $0) }
        let written = try stream(generator, prompt, loaded.model) { token in
            if !json, let text = decoder?.append(token) { try show(text) }
        }
        let elapsed = (ContinuousClock.now - start) / .seconds(1)
        if json {
            let report = GenerationReport(
                tokens: written, text: tokenizer?.decode(written),
                promptTokens: prompt.count, seconds: elapsed,
                draftAcceptance: generator.acceptance.rate)
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            print(String(decoding: try encoder.encode(report), as: UTF8.self))
        } else {
            try show((decoder?.finish() ?? "") + "\n")
            if let rate = generator.acceptance.rate {
                let line = String(format: "drafts accepted: %.1f%%\n", rate * 100)
                StandardStream.error.say(line)
            }
        }
    }

    /// Generates until a token ends the text, the limit, or the context.
    ///
    /// - Returns: The new tokens, without the one that ended the text.
    private func stream(
        _ generator: TextGenerator, _ prompt: [Int], _ model: Model, _ each: (Int) throws -> Void
    ) throws -> [Int] {
        var written: [Int] = []
        var fresh = [try generator.start(prompt)]
        while true {
            for token in fresh {
                if model.configuration.endTokens.contains(token) { return written }
                written.append(token)
                try each(token)
                if written.count == maxNewTokens { return written }
            }
            guard generator.room > 0 else { return written }
            fresh = try generator.next()
        }
    }

    /// A conversation on the terminal.
    private func converse(_ loaded: LoadedModel) throws {
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
                let generator = try TextGenerator(
                    loaded.model, cache: loaded.cache(tokens: prompt.count + maxNewTokens + 2),
                    options: options)
                var decoder = StreamingDecoder(tokenizer: tokenizer)
                let written = try stream(generator, prompt, loaded.model) {
                    try show(decoder.append($0))
                }
                try show(decoder.finish() + "\n")
                messages.append(
                    ChatMessage(role: .assistant, content: tokenizer.decode(written)))
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
