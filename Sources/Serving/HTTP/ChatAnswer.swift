import Encoding
import Language

/// How a chat's answer is to be read.
enum AnswerForm: Hashable, Sendable {
    /// Text, in which the model may call tools in this form, as often as the limit says; without a
    /// form it has none.
    case free(calls: CallForm?, limit: Int)
    /// The arguments of a call of this function: the prompt already begins the call.
    case arguments(of: String)
    /// A JSON object that names a function and its arguments.
    case call
}

/// One choice of a chat as its text arrives.
///
/// A call that was cut, by the limit of tokens or a stop string, is none: whole answers hold what
/// the model wrote of it as content, and the reason says what cut it.
struct ChatAnswer {
    /// What a client gets next.
    enum Delta: Hashable {
        case reasoning(String)
        case content(String)
        case callBegins(index: Int, AnsweredCall)
        case arguments(index: Int, String)
    }

    private let form: AnswerForm
    private let callPrefix: String
    private var parser: AnswerParser
    private var forced = ForcedCallReader()
    private(set) var choice: ChatChoice
    private var thought: ThoughtCount

    /// - Parameter channels: Where an answer of messages in channels begins.
    init(
        index: Int, form: AnswerForm, thought: ThoughtCount, wantsScores: Bool, callPrefix: String,
        tools: [Tool] = [], channels: ChannelStart? = nil
    ) {
        self.form = form
        self.callPrefix = callPrefix
        self.thought = thought
        var calls: CallForm?
        var limit = Int.max
        if case .free(let form, let most) = form { (calls, limit) = (form, most) }
        parser = AnswerParser(
            beginsThinking: thought.isInside, calls: calls, callLimit: limit,
            kinds: Dictionary(tools.map { ($0.name, $0.argumentKinds) }) { _, last in last },
            channels: channels)
        choice = ChatChoice(index: index)
        if wantsScores { choice.scores = [] }
    }

    /// Whether further text would change nothing.
    var isDone: Bool { parser.isDone }
    /// Tokens of the thought, its marks included.
    var thoughtTokens: Int { thought.count }

    mutating func append(_ addition: TextProgress.Addition) -> [Delta] {
        for token in addition.tokens { thought.append(token.token) }
        choice.scores?.append(contentsOf: addition.tokens)
        switch form {
        case .free: return take(parser.append(addition.text))
        case .arguments(let name):
            guard !addition.text.isEmpty else { return [] }
            return take(
                (choice.calls.isEmpty ? [.call(name: name)] : []) + [
                    .arguments(addition.text)
                ])
        case .call: return take(forced.append(addition.text))
        }
    }

    /// - Parameter stopString: The one that ended the text.
    mutating func finish(_ reason: FinishReason, stopString: String? = nil) -> [Delta] {
        choice.finish = reason
        choice.stopString = stopString
        switch form {
        case .free:
            let deltas = take(parser.finish(isEnd: reason == .stop && stopString == nil))
            choice.isCut = parser.isInCall
            if let open = parser.openCall { drop(open) }
            return deltas
        case .arguments:
            if let call = choice.calls.last, !Self.isObject(call.arguments) {
                drop(call.arguments)
            }
            choice.isCut = choice.calls.isEmpty
            return []
        case .call:
            choice.isCut = !forced.isWhole
            if choice.isCut, !choice.calls.isEmpty {
                drop(forced.text)
                return []
            }
            return choice.isCut ? take([.content(forced.text)]) : []
        }
    }

    /// Takes the last call, which was cut, out of a whole answer.
    private mutating func drop(_ written: String) {
        choice.calls.removeLast()
        choice.content += written
    }

    private static func isObject(_ text: String) -> Bool {
        do { return try JSONValue.parse(text).object != nil } catch { return false }
    }

    private mutating func take(_ pieces: [AnswerParser.Piece]) -> [Delta] {
        pieces.compactMap { take($0) }
    }

    private mutating func take(_ piece: AnswerParser.Piece) -> Delta? {
        switch piece {
        case .reasoning(let text):
            choice.reasoning += text
            return .reasoning(text)
        case .content(let text):
            guard !text.isEmpty else { return nil }
            choice.content += text
            return .content(text)
        case .call(let name):
            let call = AnsweredCall(
                id: "\(callPrefix)-\(choice.index)-\(choice.calls.count)", name: name,
                arguments: "")
            choice.calls.append(call)
            return .callBegins(index: choice.calls.count - 1, call)
        case .arguments(let text):
            choice.calls[choice.calls.count - 1].arguments += text
            return .arguments(index: choice.calls.count - 1, text)
        case .callEnds: return nil
        }
    }
}
