import Encoding
import Language

/// Chats as OpenAI's Responses API writes them.
///
/// An answer is a list of items: a thought, a message, calls of functions. In a stream one item is
/// open at a time, and every event is numbered.
///
///     response.created  response.in_progress  (output_item.added  ...  output_item.done)...
///     response.completed | response.incomplete | response.failed
struct Responses: ChatDialect {
    /// What the request said, as an answer repeats it.
    let head: ResponseHead
    /// Keeps the finished response.
    let keep: @Sendable (_ response: JSONValue, _ turn: JSONValue) -> Void
    private var sequence = 0
    private var open: OpenItem?
    private var items: [JSONValue] = []
    private var choice = ChatChoice(index: 0)

    /// The item that is being written.
    private struct OpenItem {
        enum Kind: String { case reasoning = "rs", message = "msg", call = "fc" }
        var kind: Kind
        var id: String
        var text = ""
        /// Of a call.
        var call: AnsweredCall?
    }

    init(
        head: ResponseHead,
        keep: @escaping @Sendable (_ response: JSONValue, _ turn: JSONValue) -> Void
    ) {
        self.head = head
        self.keep = keep
    }

    var callPrefix: String { "call_\(head.itemID)" }
    var writesDone: Bool { false }

    func whole(_ choices: [ChatChoice], _ cost: ChatCost) -> JSONValue {
        let choice = choices.first ?? ChatChoice(index: 0)
        var items: [JSONValue] = []
        let isWhole = choice.finish != .length || !choice.calls.isEmpty
        if !choice.reasoning.isEmpty {
            items.append(Self.thought(id(.reasoning, 0), choice.reasoning))
        }
        if !choice.content.isEmpty {
            items.append(Self.message(id(.message, items.count), choice.content, isWhole: isWhole))
        }
        for call in choice.calls {
            items.append(Self.call(id(.call, items.count), call, isWhole: true))
        }
        return finished(choice, items, cost)
    }

    /// The response of a text that has ended, which is kept.
    private func finished(
        _ choice: ChatChoice, _ items: [JSONValue], _ cost: ChatCost
    ) -> JSONValue {
        let state: ResponseHead.State = choice.finish == .length ? .incomplete : .completed
        let response = head.response(state, output: items, cost: cost)
        keep(response, ResponsesRequest.turn(choice))
        return response
    }

    mutating func begin(_ cost: ChatCost) -> [StreamEvent] {
        let response = head.response(.inProgress, output: [], cost: nil)
        return [
            event("response.created", [("response", response)]),
            event("response.in_progress", [("response", response)]),
        ]
    }

    mutating func add(
        _ deltas: [ChatAnswer.Delta], _ tokens: [ScoredToken], to index: Int, _ cost: ChatCost
    ) -> [StreamEvent] {
        var events: [StreamEvent] = []
        for delta in deltas {
            switch delta {
            case .reasoning(let text):
                events += enter(.reasoning)
                events.append(part("response.reasoning_text.delta", text))
            case .content(let text):
                events += enter(.message)
                events.append(part("response.output_text.delta", text, [("logprobs", [])]))
            case .callBegins(_, let call):
                events += leave() + enter(.call, call)
                if !call.arguments.isEmpty {
                    events.append(
                        part("response.function_call_arguments.delta", call.arguments))
                }
            case .arguments(_, let text):
                events.append(part("response.function_call_arguments.delta", text))
            }
        }
        return events
    }

    mutating func finish(_ choice: ChatChoice, _ cost: ChatCost) -> [StreamEvent] {
        self.choice = choice
        return leave(isWhole: open?.kind == .call ? !choice.isCut : choice.finish != .length)
    }

    mutating func end(_ cost: ChatCost) -> [StreamEvent] {
        // A call that was cut is none: the conversation that is kept has it as content.
        let whole = items.filter { $0["type"] != "function_call" || $0["status"] == "completed" }
        let response = finished(choice, whole, cost)
        let name = choice.finish == .length ? "response.incomplete" : "response.completed"
        return [event(name, [("response", response)])]
    }

    mutating func failure(_ error: APIError) -> StreamEvent {
        let failed = ResponseHead.State.failed(ResponsesRequest.renamed(error))
        let response = head.response(failed, output: items, cost: nil)
        return event("response.failed", [("response", response)])
    }
}

extension Responses {
    private func id(_ kind: OpenItem.Kind, _ index: Int) -> String {
        "\(kind.rawValue)_\(head.itemID)\(index)"
    }

    private mutating func event(
        _ name: String, _ members: [(key: String, value: JSONValue)]
    ) -> StreamEvent {
        defer { sequence += 1 }
        return StreamEvent(
            name: name,
            data: .object(
                [("type", .string(name)), ("sequence_number", .number(sequence))] + members))
    }

    /// Where an event of the open item belongs.
    private func place(hasParts: Bool) -> [(key: String, value: JSONValue)] {
        [
            ("item_id", .string(open?.id ?? "")), ("output_index", .number(items.count)),
        ] + (hasParts ? [("content_index", 0)] : [])
    }

    private mutating func part(
        _ name: String, _ text: String, _ more: [(key: String, value: JSONValue)] = []
    ) -> StreamEvent {
        open?.text += text
        return event(
            name, place(hasParts: open?.kind != .call) + [("delta", .string(text))] + more)
    }

    /// Opens an item of this kind, where none is open.
    private mutating func enter(
        _ kind: OpenItem.Kind, _ call: AnsweredCall? = nil
    ) -> [StreamEvent] {
        guard open?.kind != kind else { return [] }
        var events = leave()
        let item = OpenItem(kind: kind, id: id(kind, items.count), call: call)
        open = item
        let empty =
            switch kind {
            case .reasoning: Self.thought(item.id, nil)
            case .message: Self.message(item.id, nil, isWhole: nil)
            case .call:
                Self.call(
                    item.id,
                    AnsweredCall(id: call?.id ?? "", name: call?.name ?? "", arguments: ""),
                    isWhole: nil)
            }
        events.append(
            event(
                "response.output_item.added",
                [("output_index", .number(items.count)), ("item", empty)]))
        if let part = Self.part(kind, "") {
            events.append(
                event("response.content_part.added", place(hasParts: true) + [("part", part)]))
        }
        return events
    }

    /// Closes the open item, if one is open.
    ///
    /// - Parameter isWhole: False for an item that the limit of tokens cut.
    private mutating func leave(isWhole: Bool = true) -> [StreamEvent] {
        guard let item = open else { return [] }
        var events: [StreamEvent] = []
        let done: JSONValue
        let text = JSONValue.string(item.text)
        switch item.kind {
        case .reasoning:
            events.append(
                event("response.reasoning_text.done", place(hasParts: true) + [("text", text)]))
            done = Self.thought(item.id, item.text)
        case .message:
            events.append(
                event(
                    "response.output_text.done",
                    place(hasParts: true) + [("text", text), ("logprobs", [])]))
            done = Self.message(item.id, item.text, isWhole: isWhole)
        case .call:
            let call = AnsweredCall(
                id: item.call?.id ?? "", name: item.call?.name ?? "", arguments: item.text)
            events.append(
                event(
                    "response.function_call_arguments.done",
                    place(hasParts: false) + [
                        ("name", .string(call.name)), ("arguments", text),
                    ]))
            done = Self.call(item.id, call, isWhole: isWhole)
        }
        if let part = Self.part(item.kind, item.text) {
            events.append(
                event("response.content_part.done", place(hasParts: true) + [("part", part)]))
        }
        events.append(
            event(
                "response.output_item.done",
                [("output_index", .number(items.count)), ("item", done)]))
        items.append(done)
        open = nil
        return events
    }

    private static func part(_ kind: OpenItem.Kind, _ text: String) -> JSONValue? {
        switch kind {
        case .reasoning: ["type": "reasoning_text", "text": .string(text)]
        case .message:
            ["type": "output_text", "text": .string(text), "annotations": [], "logprobs": []]
        case .call: nil
        }
    }

    private static func status(_ isWhole: Bool?) -> JSONValue {
        isWhole.map { $0 ? "completed" : "incomplete" } ?? "in_progress"
    }

    private static func thought(_ id: String, _ text: String?) -> JSONValue {
        [
            "id": .string(id), "type": "reasoning", "summary": [],
            "content": .array(text.flatMap { part(.reasoning, $0) }.map { [$0] } ?? []),
        ]
    }

    private static func message(_ id: String, _ text: String?, isWhole: Bool?) -> JSONValue {
        [
            "id": .string(id), "type": "message", "role": "assistant", "status": status(isWhole),
            "content": .array(text.flatMap { part(.message, $0) }.map { [$0] } ?? []),
        ]
    }

    private static func call(_ id: String, _ call: AnsweredCall, isWhole: Bool?) -> JSONValue {
        [
            "id": .string(id), "type": "function_call", "call_id": .string(call.id),
            "name": .string(call.name), "arguments": .string(call.arguments),
            "status": status(isWhole),
        ]
    }
}
