import Encoding

/// What a response of the Responses API says of its request.
struct ResponseHead: Sendable {
    /// How far a response is.
    enum State: Sendable {
        case inProgress, completed, incomplete, cancelled
        case failed(APIError)

        var word: String {
            switch self {
            case .inProgress: "in_progress"
            case .completed: "completed"
            case .incomplete: "incomplete"
            case .cancelled: "cancelled"
            case .failed: "failed"
            }
        }
    }

    /// 32 hexadecimal digits that nobody can guess: who knows them may read the response.
    private let hexID: String
    /// Others, for calls and items, which clients show to tools.
    let itemID: String
    let model: String
    /// Seconds since 1970.
    let created: Int
    /// What is repeated of the request, as text: a tree of large tools takes 25 times its bytes.
    private let echo: String

    var id: String { "resp_\(hexID)" }

    /// - Parameter body: A request that has the shape `RequestShapes.responses`.
    init(_ body: JSONValue, model: String, created: Int) {
        hexID = StoredID.make("")
        itemID = StoredID.word()
        self.model = model
        self.created = created
        let defaults: [(key: String, value: JSONValue)] = [
            ("background", false), ("instructions", .null), ("max_output_tokens", .null),
            ("metadata", [:]), ("parallel_tool_calls", true), ("previous_response_id", .null),
            ("reasoning", ["effort": .null, "summary": .null]), ("store", true),
            ("temperature", .null), ("text", ["format": ["type": "text"]]),
            ("tool_choice", "auto"), ("tools", []), ("top_p", .null),
            ("truncation", "disabled"), ("user", .null),
        ]
        let members = defaults.map { name, value in
            let given = body[name]
            return (key: name, value: given.map { $0.isNull ? value : $0 } ?? value)
        }
        echo = JSONValue.object(members).text
    }

    private var echoed: [(key: String, value: JSONValue)] {
        do { return try JSONValue.parse(echo).object ?? [] } catch { return [] }
    }

    /// The response as it is.
    ///
    /// - Parameter cost: nil before the end.
    func response(_ state: State, output: [JSONValue], cost: ChatCost?) -> JSONValue {
        var error = JSONValue.null
        if case .failed(let fault) = state {
            error = [
                "code": .string(fault.status < 500 ? "invalid_prompt" : "server_error"),
                "message": .string(fault.message),
            ]
        }
        var details = JSONValue.null
        if case .incomplete = state { details = ["reason": "max_output_tokens"] }
        return .object(
            [
                ("id", .string(id)), ("object", "response"), ("created_at", .number(created)),
                ("status", .string(state.word)), ("error", error),
                ("incomplete_details", details), ("model", .string(model)),
                ("output", .array(output)), ("usage", cost.map { Self.usage($0) } ?? .null),
            ] + echoed)
    }

    private static func usage(_ cost: ChatCost) -> JSONValue {
        [
            "input_tokens": .number(cost.promptTokens),
            "input_tokens_details": ["cached_tokens": .number(cost.cachedTokens)],
            "output_tokens": .number(cost.generatedTokens),
            "output_tokens_details": ["reasoning_tokens": .number(cost.thoughtTokens)],
            "total_tokens": .number(cost.promptTokens + cost.generatedTokens),
        ]
    }
}
