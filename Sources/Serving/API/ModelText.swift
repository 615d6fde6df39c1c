import Encoding
import Foundation
public import Language
import Models

/// What the HTTP API knows of a model: its name, its tokens, how chats are written.
public struct ModelText: Sendable {
    /// What clients call the model.
    public let name: String
    /// Tokens to text and back.
    public let tokenizer: Tokenizer
    /// How chats are written, or why they cannot be.
    private let chats: Result<ChatTemplate, LanguageError>
    /// Rows of the embedding: every id below it may be sent.
    let vocabularySize: Int
    /// Tokens a prompt and its answer may have.
    let contextTokens: Int
    /// Special tokens that the parser of answers reads.
    let structureTokens: Set<Int>
    /// The tokens of messages, where answers are messages in channels; else empty.
    let channelTokens: [Int: HarmonyToken]
    /// The day that prompts say, where they say one: in UTC, the one on which this was made.
    private let date = ChatTemplate.today()
    /// The tokens that stand around thoughts.
    let thoughtMarks: ThoughtCount.Marks
    /// What `generation_config.json` says, where it says something.
    let defaults: SamplingParameters
    /// `tokenizer_config.json`, which tools read to tokenize as the server does.
    let tokenizerInfo: JSONValue

    /// Reads what a checkpoint's folder says.
    ///
    /// - Parameters:
    ///   - name: What clients call the model; nil takes the folder's name.
    ///   - contextTokens: A limit below the model's own, such as the latent cache's.
    ///   - chatStyle: The name of the rules of chats; nil or empty takes those of the checkpoint's
    ///     own template, without which chats are refused.
    public init(
        directory: String, name: String? = nil, contextTokens: Int? = nil,
        chatStyle: String? = nil
    ) throws {
        let folder = URL(filePath: directory)
        let configuration = try ModelConfiguration.load(directory: directory)
        self.name = name ?? folder.lastPathComponent
        let tokenizer = try Tokenizer(directory: folder)
        self.tokenizer = tokenizer
        let chats = try Self.chats(in: folder, chatStyle)
            .flatMap { Self.checked($0, tokenizer) }
        self.chats = chats
        structureTokens = AnswerParser.structureTokens(of: tokenizer)
        channelTokens = Self.channelTokens(chats, tokenizer)
        thoughtMarks = ThoughtCount.Marks(tokenizer, channels: !channelTokens.isEmpty)
        vocabularySize = configuration.vocabularySize
        self.contextTokens = min(
            contextTokens ?? configuration.contextLimit, configuration.contextLimit)
        defaults = try SamplingParameters(
            ofModel: Self.read(Self.generationFile, in: folder),
            path: folder.appending(path: Self.generationFile).path)
        let info = try Self.read("tokenizer_config.json", in: folder)
        tokenizerInfo = info ?? ["tokenizer_class": "PreTrainedTokenizerFast"]
    }

    private static let generationFile = "generation_config.json"

    private static func read(_ name: String, in folder: URL) throws -> JSONValue? {
        let file = folder.appending(path: name).path
        guard let data = FileManager.default.contents(atPath: file) else { return nil }
        do { return try JSONValue.parse(Array(data)) } catch {
            throw LanguageError.file(file, fact: "\(error)")
        }
    }

    private static func chats(
        in folder: URL, _ name: String?
    ) throws(LanguageError) -> Result<ChatTemplate, LanguageError> {
        var style: ChatTemplate.Style?
        if let name, !name.isEmpty { style = try ChatTemplate.Style(named: name) }
        do throws(LanguageError) {
            return .success(try ChatTemplate(directory: folder, named: style))
        } catch {
            guard case .chat = error else { throw error }
            return .failure(error)
        }
    }

    /// Why chats are refused, in one line; nil where they are not.
    public var chatRefusal: String? {
        if case .failure(let error) = chats { return error.description }
        return nil
    }

    private func rules() throws(APIError) -> ChatTemplate {
        guard case .success(let rules) = chats else {
            throw .invalid(
                "chats of this model are refused, completions are not: \(chatRefusal ?? "")",
                parameter: "messages", code: "chat_template_unknown")
        }
        return rules
    }

    /// How the model writes calls; nil of one that has none.
    ///
    /// - Parameter thinks: What the request set the template's switch for thoughts to.
    /// - Throws: What the rules of chats have no words for: nothing that was asked for is left out.
    func callForm(
        for messages: [ChatMessage], tools: [Tool], thinks: Bool?
    ) throws(APIError) -> CallForm? {
        let rules = try rules()
        let style = rules.style.rawValue
        if rules.callForm == nil {
            guard tools.isEmpty else {
                throw .invalid("chats of style \(style) have no tools", parameter: "tools")
            }
            guard messages.allSatisfy({ $0.role != .tool && $0.toolCalls.isEmpty }) else {
                throw .invalid(
                    "chats of style \(style) have no tool calls and no tool results",
                    parameter: "messages")
            }
        }
        if let fault = rules.fault(in: messages) {
            throw .invalid("\(fault) (chats of style \(style))", parameter: "messages")
        }
        if rules.callForm?.hasPlainArguments == false {
            for call in messages.flatMap(\.toolCalls) where !call.hasMembers {
                throw .invalid(
                    "the arguments of an earlier call of \(JSONValue.quoted(call.name)) are no "
                        + "JSON object, which chats of style \(style) need",
                    parameter: "messages")
            }
        }
        if let form = rules.callForm {
            for tool in tools {
                guard let fault = tool.fault(in: form) else { continue }
                throw .invalid(
                    "\(fault), which calls in chats of style \(style) cannot hold",
                    parameter: "tools")
            }
        }
        if let thinks, !rules.canThink(thinks) {
            throw .invalid(
                "answers in chats of style \(style) \(thinks ? "never" : "always") begin with a "
                    + "thought: chat_template_kwargs cannot change it",
                parameter: "chat_template_kwargs")
        }
        return rules.callForm
    }

    /// A chat as a prompt, up to where its answer begins.
    func render(
        _ messages: [ChatMessage], tools: [Tool], thinks: Bool?, effort: String? = nil,
        date: String? = nil, keepsThoughts: Bool = false, addGenerationPrompt: Bool = true
    ) throws(APIError) -> ChatPrompt {
        let rules = try rules()
        if date != nil, rules.style != .gptOss {
            throw .invalid(
                "prompts of chats of style \(rules.style.rawValue) say no date",
                parameter: "chat_template_kwargs")
        }
        if keepsThoughts, !rules.canKeepThoughts {
            throw .invalid(
                "chats of style \(rules.style.rawValue) have no switch for the thoughts of earlier "
                    + "answers", parameter: "chat_template_kwargs")
        }
        return rules.render(
            messages,
            tools: tools.map { ToolDeclaration(name: $0.name, declaration: $0.declaration) },
            thinking: thinks, effort: effort, date: date ?? self.date,
            keepsThoughts: keepsThoughts,
            addGenerationPrompt: addGenerationPrompt)
    }
}
