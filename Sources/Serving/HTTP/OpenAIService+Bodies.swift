import Encoding
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Language
import NIOCore

/// A request's body as it was received, and what it holds of the budget.
struct ReceivedBody: Sendable {
    var bytes: [UInt8]
    /// `gzip` or `deflate`; nil for plain JSON.
    var encoding: String?
    let account: BodyAccount
}

extension OpenAIService {
    /// Bodies beyond this are understood in the lane for large ones: they take milliseconds.
    private static let largeBytes = 64 << 10

    /// Reads a request's JSON body, checks its shape, and hands it over.
    ///
    /// `understand` runs where neither streams nor connections wait for it: what it makes of a
    /// request may take long.
    func understood<Value: Sendable>(
        _ request: Request, _ caller: Caller, _ shape: Shape,
        _ understand: @escaping @Sendable (JSONValue) throws -> Value
    ) async throws -> Value {
        let body = try await receive(request, caller)
        let bytes = body.encoding == nil ? body.bytes.count : .max
        return try await lane(for: bytes).run(for: caller.address) {
            try understand(self.parse(body, shape))
        }
    }

    /// Where so many bytes are understood.
    func lane(for bytes: Int) -> WorkLane { bytes > Self.largeBytes ? slowLane : lane }

    private func receive(_ request: Request, _ caller: Caller) async throws -> ReceivedBody {
        let encoding = try CompressedBody.encoding(request.headers[.contentEncoding])
        let type = request.headers[.contentType] ?? "application/json"
        guard type.lowercased().hasPrefix("application/json") else {
            throw APIError(
                status: 415,
                message: "Content-Type is \(AccessLog.escaped(type)): it must be application/json",
                type: "invalid_request_error")
        }
        let length = request.headers[.contentLength].flatMap { Int($0) }
        if let length, length > limits.bodyBytes { throw tooLarge(length) }
        var body = ReceivedBody(
            bytes: [], encoding: encoding, account: bodies.account(for: caller.address))
        if let length { body.bytes.reserveCapacity(length) }
        connections.expect(caller.channel, within: limits.idleSeconds)
        defer { connections.moved(caller.channel) }
        var parts = try await BodyParts(of: request, caller)
        while let part = try await parts.next() {
            guard body.bytes.count + part.readableBytes <= limits.bodyBytes else {
                throw tooLarge(body.bytes.count + part.readableBytes)
            }
            try body.account.take(part.readableBytes)
            body.bytes += part.readableBytesView
        }
        return body
    }

    private func tooLarge(_ count: Int) -> APIError {
        APIError(
            status: 413,
            message: "the body has \(count) bytes: the limit is \(limits.bodyBytes) "
                + "(api.limits.bodyBytes)",
            type: "invalid_request_error")
    }

    /// What a body says, in its shape and for this model.
    private func parse(_ body: ReceivedBody, _ shape: Shape) throws -> JSONValue {
        var bytes = body.bytes
        if let encoding = body.encoding {
            bytes = try CompressedBody.expand(
                bytes, encoding, limit: limits.bodyBytes, account: body.account)
        }
        let value: JSONValue
        do { value = try JSONValue.parse(bytes) } catch {
            throw APIError.invalid("the body is \(error)")
        }
        guard value.object != nil else {
            throw APIError.invalid("the body must be a JSON object, not \(value.kind)")
        }
        return try checked(value, shape)
    }

    /// A request's body, if it has this shape and names this model.
    func checked(_ value: JSONValue, _ shape: Shape) throws(APIError) -> JSONValue {
        try shape.check(value, at: "")
        if let model = value["model"]?.string, !model.isEmpty, model != text.name {
            throw .notFound(
                "there is no model \(JSONValue.quoted(model)): this server has \(text.name)",
                code: "model_not_found")
        }
        return value
    }
}

extension OpenAIService {
    /// `POST /tokenize`.
    func tokenize(_ request: Request, _ caller: Caller) async throws -> Response {
        try await understood(request, caller, shapes.tokenize) { body in
            let tokens: [Int]
            switch (body["prompt"]?.string, body["messages"]?.array) {
            case (let prompt?, nil):
                tokens = self.text.tokenizer.encode(
                    prompt, addSpecialTokens: body["add_special_tokens"]?.bool ?? true)
            case (nil, let messages?):
                tokens = try self.prompt(messages, body).ids(self.text.tokenizer)
            case (nil, nil):
                throw APIError.invalid("prompt or messages is missing", parameter: "prompt")
            case (_?, _?):
                throw APIError.invalid(
                    "prompt and messages are both given: one of them is tokenized",
                    parameter: "messages")
            }
            var members: [(key: String, value: JSONValue)] = [
                ("count", .number(tokens.count)),
                ("max_model_len", .number(self.text.contextTokens)),
                ("tokens", .array(tokens.map { .number($0) })),
            ]
            if body["return_token_strs"]?.bool == true {
                let names = tokens.map { JSONValue.string(self.text.tokenizer.token($0) ?? "") }
                members.append(("token_strs", .array(names)))
            }
            return .json(.object(members))
        }
    }

    /// The prompt that a chat request with these messages would have; without
    /// `add_generation_prompt` the conversation alone.
    private func prompt(
        _ messages: [JSONValue], _ body: JSONValue
    ) throws(APIError) -> ChatPrompt {
        guard body["add_generation_prompt"]?.bool == false,
            body["continue_final_message"]?.bool != true
        else {
            let chat = try ChatFields(body)
            let tools = chat.toolChoice == .none ? [] : chat.tools
            _ = try text.callForm(
                for: chat.messages, tools: tools, thinks: ChatFields.templateSwitch(body))
            return try render(chat, thinks: chat.thinks)
        }
        let conversation = try ToolResults.ordered(messages).map { ChatMessage($0) }
        let tools = (body["tools"]?.array ?? []).map { Tool($0) }
        let thinks = try ChatFields.thinks(body)
        _ = try text.callForm(
            for: conversation, tools: tools, thinks: ChatFields.templateSwitch(body))
        return try text.render(
            conversation, tools: tools, thinks: thinks, effort: body["reasoning_effort"]?.string,
            date: try ChatFields.date(body),
            keepsThoughts: try ChatFields.keepsThoughts(body), addGenerationPrompt: false)
    }

    /// `POST /detokenize`.
    func detokenize(_ request: Request, _ caller: Caller) async throws -> Response {
        try await understood(request, caller, shapes.detokenize) { body in
            let tokens = (body["tokens"]?.array ?? []).compactMap(\.integer)
            return .json([
                "prompt": .string(self.text.tokenizer.decode(tokens, skipSpecialTokens: false))
            ])
        }
    }
}
