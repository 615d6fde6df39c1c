/// One turn of a conversation.
public struct ChatMessage: Sendable, Hashable {
    /// Who speaks.
    public enum Role: String, Sendable, Hashable, CaseIterable {
        case system
        case user
        case assistant
        /// The output of a tool that the assistant called.
        case tool
    }

    /// Who speaks.
    public var role: Role
    /// What is said; nil for an assistant that only calls tools.
    public var content: String?
    /// The calls an assistant makes.
    public var toolCalls: [ToolCall]
    /// Who speaks, where a template writes more than the role.
    package var name: String?
    /// The thought before an assistant's words, where it is known apart from them.
    package var reasoning: String?
    /// Whether the assistant's content is the beginning of the answer that is to be continued.
    package var isPrefix: Bool

    /// A turn.
    public init(
        role: Role, content: String?, toolCalls: [ToolCall] = [], isPrefix: Bool = false,
        name: String? = nil, reasoning: String? = nil
    ) {
        self.role = role
        self.content = content
        self.toolCalls = toolCalls
        self.isPrefix = isPrefix
        self.name = name
        self.reasoning = reasoning
    }
}

/// A call of a function.
public struct ToolCall: Sendable, Hashable {
    /// What is called; only `function` exists.
    public var type: String
    /// The function's name.
    public var name: String
    /// Its arguments, JSON text.
    public var arguments: String

    /// A call of the function `name`.
    public init(type: String = "function", name: String, arguments: String) {
        self.type = type
        self.name = name
        self.arguments = arguments
    }
}

/// A function the assistant may call.
public struct ToolDeclaration: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// The whole declaration (name, description, JSON Schema of the parameters), JSON text.
    public var declaration: String

    /// The function `name`, declared in JSON.
    public init(name: String, declaration: String) {
        self.name = name
        self.declaration = declaration
    }
}
