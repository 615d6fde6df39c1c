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
    let template: ChatTemplate
    /// Rows of the embedding: every id below it may be sent.
    let vocabularySize: Int
    /// Tokens a prompt and its answer may have.
    let contextTokens: Int
    let endTokens: [Int]
    /// What `generation_config.json` says, where it says something.
    let defaults: SamplingParameters
    /// `tokenizer_config.json`, which tools read to tokenize as the server does.
    let tokenizerInfo: JSONValue

    /// Reads what a checkpoint's folder says.
    ///
    /// - Parameters:
    ///   - name: What clients call the model; nil takes the folder's name.
    ///   - contextTokens: A limit below the model's own, such as the latent cache's.
    public init(directory: String, name: String? = nil, contextTokens: Int? = nil) throws {
        let folder = URL(filePath: directory)
        let configuration = try ModelConfiguration.load(directory: directory)
        self.name = name ?? folder.lastPathComponent
        tokenizer = try Tokenizer(directory: folder)
        template = try ChatTemplate(directory: folder, otherwise: configuration.chatStyle)
        vocabularySize = configuration.vocabularySize
        self.contextTokens = min(
            contextTokens ?? configuration.positionLimit, configuration.positionLimit)
        endTokens = configuration.endTokens
        var defaults = SamplingParameters()
        if let values = try Self.read("generation_config.json", in: folder) {
            defaults.temperature = values["temperature"]?.double ?? 1
            defaults.topP = values["top_p"]?.double ?? 1
            if values["do_sample"]?.bool == false { defaults.temperature = 0 }
        }
        self.defaults = defaults
        let info = try Self.read("tokenizer_config.json", in: folder)
        tokenizerInfo = info ?? ["tokenizer_class": "PreTrainedTokenizerFast"]
    }

    private static func read(_ name: String, in folder: URL) throws -> JSONValue? {
        let file = folder.appending(path: name).path
        guard let data = FileManager.default.contents(atPath: file) else { return nil }
        do { return try JSONValue.parse(Array(data)) } catch {
            throw LanguageError.file(file, fact: "\(error)")
        }
    }

    /// The ids of a chat, up to where its answer begins.
    func render(_ messages: [ChatMessage], tools: [Tool], thinks: Bool?) -> ChatPrompt {
        template.render(
            messages,
            tools: tools.map { ToolDeclaration(name: $0.name, declaration: $0.declaration) },
            thinking: thinks)
    }
}
