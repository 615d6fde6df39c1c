import Encoding
import Grammar
import Hummingbird
import HummingbirdCore
import Language

/// A chat request that was understood: what goes to the engines, and how answers are read.
struct ChatPlan: Sendable {
    let fields: GenerationFields
    let chat: ChatFields
    let form: AnswerForm
    let prompt: [Int]
    let beginsThinking: Bool
    let requests: [GenerationRequest]
}

extension OpenAIService {
    /// `POST /v1/chat/completions`.
    func chat(_ request: Request, _ caller: Caller) async throws -> Response {
        let body = try await body(request, caller, shapes.chat)
        let plan = try plan(body)
        let writer = writer("chatcmpl")
        return try await answer(plan.requests, streams: plan.fields.streams, caller) {
            try await self.answer(plan, $0, writer)
        } parts: {
            try await self.stream(plan, $0, writer, into: &$1)
        }
    }

    private func plan(_ body: JSONValue) throws -> ChatPlan {
        var fields = try GenerationFields(body, defaults: text.defaults)
        let chat = try ChatFields(body)
        var form = AnswerForm.free(findsCalls: chat.toolChoice != .none)
        let tools = chat.toolChoice == .none ? [] : chat.tools
        var thinks = chat.thinks
        var named: Tool?
        switch chat.toolChoice {
        case .none, .auto: break
        case .named(let name): named = tools.first { $0.name == name }
        case .required:
            if tools.count == 1 {
                named = tools[0]
            } else {
                form = .call
                fields.constraint = .jsonSchema(Self.anyCall(of: tools))
                thinks = false
            }
        }
        if fields.constraint != nil { thinks = false }
        if let named {
            form = .arguments(of: named.name)
            fields.constraint = .jsonSchema(named.argumentSchema)
            thinks = false
        }
        let rendered = text.render(
            body["messages"]?.array?.map { ChatMessage($0) } ?? [], tools: tools, thinks: thinks)
        var prompt = rendered.ids(text.tokenizer)
        if let named {
            prompt += AnswerParser.beginning(ofCall: named.name, text.tokenizer)
        }
        let requests = try self.requests(fields, prompt: prompt) {
            $0.topLogprobs = chat.topLogprobs
        }
        return ChatPlan(
            fields: fields, chat: chat, form: form, prompt: prompt,
            beginsThinking: AnswerParser.isThinking(atEndOf: rendered.text),
            requests: requests)
    }

    /// The engine requests for the choices of one prompt.
    func requests(
        _ fields: GenerationFields, prompt: [Int], defaultTokens: Int? = nil, offset: Int = 0,
        _ adjust: (inout GenerationRequest) -> Void
    ) throws -> [GenerationRequest] {
        if let constraint = fields.constraint {
            try ServingError.constraining { () throws(GrammarError) in
                try grammars.check(constraint)
            }
        }
        let seed = UInt64.random(in: 0 ..< 1 << 53)
        return try (0 ..< fields.choices).map { index in
            var request = try fields.request(
                id: nextID(), prompt: prompt, index: offset + index, fallbackSeed: seed,
                contextTokens: text.contextTokens, defaultTokens: defaultTokens)
            request.cacheSalt = Self.salt(fields.cacheSalt)
            adjust(&request)
            return request
        }
    }

    /// A schema of one call of any of these tools.
    private static func anyCall(of tools: [Tool]) -> String {
        let options = tools.map { tool in
            #"{"type":"object","properties":{"name":{"const":\#(JSONValue.quoted(tool.name))},"#
                + #""arguments":\#(tool.argumentSchema)},"required":["name","arguments"]}"#
        }
        return #"{"anyOf":["# + options.joined(separator: ",") + "]}"
    }

    private func answers(
        _ plan: ChatPlan, _ writer: AnswerWriter
    ) -> [(progress: TextProgress, answer: ChatAnswer)] {
        plan.requests.indices.map { index in
            let assembler = TextAssembler(
                text.tokenizer, stops: plan.fields.stopStrings,
                skipsSpecialTokens: plan.fields.skipsSpecialTokens, kept: structureTokens)
            return (
                TextProgress(assembler, metrics: metrics),
                ChatAnswer(
                    index: index, form: plan.form, beginsThinking: plan.beginsThinking,
                    wantsScores: plan.chat.topLogprobs != nil, callPrefix: "call-\(writer.id)")
            )
        }
    }

    private func answer(
        _ plan: ChatPlan, _ reader: RequestStreamReader, _ writer: AnswerWriter
    ) async throws -> Response {
        var reader = reader
        var answers = answers(plan, writer)
        while let event = try await reader.next() {
            let addition = answers[event.index].progress.take(event.event)
            _ = answers[event.index].answer.append(addition)
            if answers[event.index].progress.hasStopped {
                await router.cancel(plan.requests[event.index].id)
            }
            if let reason = answers[event.index].progress.finish {
                _ = answers[event.index].answer.finish(reason)
            }
        }
        let usage = AnswerWriter.usage(
            answers.map(\.progress.usage), prompts: [plan.prompt.count])
        return .json(writer.chat(answers.map(\.answer.choice), usage: usage))
    }

    private func stream(
        _ plan: ChatPlan, _ reader: RequestStreamReader, _ writer: AnswerWriter,
        into stream: inout EventStreamWriter
    ) async throws {
        var reader = reader
        var answers = answers(plan, writer)
        for index in answers.indices {
            try await stream.write(
                writer.chatChunk(index, delta: [("role", "assistant"), ("content", "")]))
        }
        while let event = try await reader.next() {
            let index = event.index
            let addition = answers[index].progress.take(event.event)
            var deltas = answers[index].answer.append(addition)
            if answers[index].progress.hasStopped {
                await router.cancel(plan.requests[index].id)
            }
            let reason = answers[index].progress.finish
            if let reason { deltas += answers[index].answer.finish(reason) }
            var scores = plan.chat.topLogprobs == nil ? nil : addition.tokens
            if deltas.isEmpty, let some = scores, !some.isEmpty { deltas = [.content("")] }
            for delta in deltas {
                let usage =
                    plan.fields.includesContinuousUsage ? answers[index].progress.usage : nil
                try await stream.write(
                    writer.chatChunk(
                        index, delta: delta.members, scores: scores,
                        usage: usage.map { AnswerWriter.usage([$0], prompts: [plan.prompt.count]) })
                )
                scores = nil
            }
            if let reason {
                let calls = answers[index].answer.choice.calls
                try await stream.write(
                    writer.chatChunk(
                        index, delta: [], finish: AnswerWriter.reason(reason, calls)))
            }
        }
        if plan.fields.includesUsage {
            let usage = AnswerWriter.usage(
                answers.map(\.progress.usage), prompts: [plan.prompt.count])
            try await stream.write(writer.usageChunk("chat.completion.chunk", usage))
        }
    }
}
