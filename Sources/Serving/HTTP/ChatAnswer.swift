import Encoding
import Language

/// How a chat's answer is to be read.
enum AnswerForm: Hashable, Sendable {
    /// Text, in which the model may call tools if it has some.
    case free(findsCalls: Bool)
    /// The arguments of a call of this function: the prompt already begins the call.
    case arguments(of: String)
    /// A JSON object that names a function and its arguments.
    case call
}

/// One choice of a chat as its text arrives.
struct ChatAnswer {
    /// What a client gets next.
    enum Delta: Hashable {
        case reasoning(String)
        case content(String)
        case callBegins(index: Int, AnswerWriter.AnsweredCall)
        case arguments(index: Int, String)
    }

    private let form: AnswerForm
    private let callPrefix: String
    private var parser: AnswerParser
    private var document = ""
    private(set) var choice: AnswerWriter.ChatChoice

    init(index: Int, form: AnswerForm, beginsThinking: Bool, wantsScores: Bool, callPrefix: String)
    {
        self.form = form
        self.callPrefix = callPrefix
        var findsCalls = false
        if case .free(let finds) = form { findsCalls = finds }
        parser = AnswerParser(beginsThinking: beginsThinking, findsCalls: findsCalls)
        choice = AnswerWriter.ChatChoice(index: index)
        if wantsScores { choice.scores = [] }
    }

    mutating func append(_ addition: TextProgress.Addition) -> [Delta] {
        choice.scores?.append(contentsOf: addition.tokens)
        switch form {
        case .free: return parser.append(addition.text).map { take($0) }
        case .arguments(let name): return append(arguments: addition.text, of: name)
        case .call:
            document += addition.text
            return []
        }
    }

    mutating func finish(_ reason: FinishReason) -> [Delta] {
        choice.finish = reason
        switch form {
        case .free: return parser.finish().map { take($0) }
        case .arguments(let name):
            return choice.calls.isEmpty ? append(arguments: "{}", of: name) : []
        case .call:
            do {
                let value = try JSONValue.parse(document)
                return [
                    take(
                        .call(
                            name: value["name"]?.string ?? "",
                            arguments: value["arguments"]?.text ?? "{}"))
                ]
            } catch { return [take(.content(document))] }
        }
    }

    private mutating func append(arguments text: String, of name: String) -> [Delta] {
        guard !text.isEmpty else { return [] }
        if choice.calls.isEmpty {
            choice.calls = [call(name, "")]
            return [
                .callBegins(index: 0, choice.calls[0]), append(arguments: text),
            ]
        }
        return [append(arguments: text)]
    }

    private mutating func append(arguments text: String) -> Delta {
        choice.calls[0].arguments += text
        return .arguments(index: 0, text)
    }

    private mutating func take(_ piece: AnswerParser.Piece) -> Delta {
        switch piece {
        case .reasoning(let text):
            choice.reasoning += text
            return .reasoning(text)
        case .content(let text):
            choice.content += text
            return .content(text)
        case .call(let name, let arguments):
            choice.calls.append(call(name, arguments))
            return .callBegins(index: choice.calls.count - 1, choice.calls.last!)
        }
    }

    private func call(_ name: String, _ arguments: String) -> AnswerWriter.AnsweredCall {
        AnswerWriter.AnsweredCall(
            id: "\(callPrefix)-\(choice.index)-\(choice.calls.count)", name: name,
            arguments: arguments)
    }
}

extension ChatAnswer.Delta {
    /// The delta as a chunk carries it.
    var members: [(key: String, value: JSONValue)] {
        switch self {
        case .reasoning(let text):
            [("reasoning_content", .string(text)), ("reasoning", .string(text))]
        case .content(let text): [("content", .string(text))]
        case .callBegins(let index, let call):
            [("tool_calls", [AnswerWriter.call(call, index: index)])]
        case .arguments(let index, let text):
            [
                (
                    "tool_calls",
                    [["index": .number(index), "function": ["arguments": .string(text)]]]
                )
            ]
        }
    }
}
