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
    /// When the request was understood.
    let start = ContinuousClock.now
}

extension OpenAIService {
    /// `POST /v1/chat/completions`.
    func chat(_ request: Request, _ caller: Caller) async throws -> Response {
        let plan = try await understood(request, caller, shapes.chat) { try self.plan($0) }
        let writer = writer("chatcmpl")
        let record = connections.record(of: caller.channel)
        return try await answer(plan.requests, streams: plan.fields.streams, caller) {
            try await self.answer(plan, $0, writer, record)
        } parts: {
            try await self.stream(plan, $0, writer, record, into: &$1)
        }
    }

    private func plan(_ body: JSONValue) throws -> ChatPlan {
        var fields = try GenerationFields(body, defaults: text.defaults)
        let chat = try ChatFields(body)
        let tools = chat.toolChoice == .none ? [] : chat.tools
        let calls = try text.callForm(
            for: chat.messages, tools: tools, thinks: ChatFields.templateSwitch(body))
        var form = AnswerForm.free(
            calls: chat.toolChoice == .none ? nil : calls,
            limit: chat.allowsParallelCalls ? .max : 1)
        var thinks = chat.thinks
        var named: Tool?
        switch chat.toolChoice {
        case .none: break
        case .auto:
            // A call in the model's format, or what the response format asks for. The members of
            // structured_outputs say what the whole text is.
            if let wanted = fields.constraint, fields.isResponseFormat, let calls {
                let constraint = CallConstraint(
                    tokenizer: text.tokenizer, isFenced: calls == .fenced)
                fields.constraint = .either([
                    wanted, constraint.calls(of: tools, atMost: chat.allowsParallelCalls ? nil : 1),
                ])
            }
        case .named(let name): named = tools.first { $0.name == name }
        case .required:
            if tools.count == 1 {
                named = tools[0]
            } else {
                form = .call
                fields.constraint = .either(tools.map(\.call))
            }
        }
        if let named {
            form = .arguments(of: named.name)
            fields.constraint = named.arguments
        }
        if fields.constraint != nil { thinks = false }
        let rendered = try render(chat, thinks: thinks)
        var prompt = rendered.ids(text.tokenizer)
        if let named, let calls {
            prompt += calls.beginning(ofCall: named.name, text.tokenizer)
        }
        let requests = try self.requests(fields, prompt: prompt, promptName: "messages") {
            $0.topLogprobs = chat.topLogprobs
        }
        return ChatPlan(
            fields: fields, chat: chat, form: form, prompt: prompt,
            beginsThinking: rendered.endsInThought,
            requests: requests)
    }

    /// The prompt of a chat.
    func render(_ chat: ChatFields, thinks: Bool?) throws(APIError) -> ChatPrompt {
        try text.render(
            chat.messages, tools: chat.toolChoice == .none ? [] : chat.tools, thinks: thinks)
    }

    /// The engine requests for the choices of one prompt.
    func requests(
        _ fields: GenerationFields, prompt: [Int], promptName: String, defaultTokens: Int? = nil,
        offset: Int = 0, _ adjust: (inout GenerationRequest) -> Void
    ) throws -> [GenerationRequest] {
        let seed = UInt64.random(in: 0 ..< 1 << 53)
        return try (0 ..< fields.choices).map { index in
            var request = try fields.request(
                id: nextID(), prompt: prompt, promptName: promptName, index: offset + index,
                fallbackSeed: seed, contextTokens: text.contextTokens,
                defaultTokens: defaultTokens)
            request.cacheSalt = Self.salt(fields.cacheSalt)
            adjust(&request)
            return request
        }
    }

    private func answers(
        _ plan: ChatPlan, _ writer: AnswerWriter
    ) -> [(progress: TextProgress, answer: ChatAnswer)] {
        plan.requests.indices.map { index in
            let assembler = TextAssembler(
                text.tokenizer, stops: plan.fields.stopStrings,
                skipsSpecialTokens: plan.fields.skipsSpecialTokens, kept: structureTokens,
                gate: ThoughtGate(isInside: plan.beginsThinking))
            return (
                TextProgress(
                    assembler, minTokens: plan.fields.minTokens, metrics: metrics,
                    start: plan.start),
                ChatAnswer(
                    index: index, form: plan.form, beginsThinking: plan.beginsThinking,
                    wantsScores: plan.chat.topLogprobs != nil, callPrefix: "call-\(writer.id)")
            )
        }
    }

    private func answer(
        _ plan: ChatPlan, _ reader: RequestStreamReader, _ writer: AnswerWriter,
        _ record: RequestRecord?
    ) async throws -> Response {
        var reader = reader
        var answers = answers(plan, writer)
        defer { record?.cost(prompts: [plan.prompt.count], answers.map(\.progress.usage)) }
        while let event = try await reader.next() {
            let addition = answers[event.index].progress.take(event.event)
            _ = answers[event.index].answer.append(addition)
            if answers[event.index].answer.isDone { answers[event.index].progress.stop() }
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
        _ record: RequestRecord?, into stream: inout EventStreamWriter
    ) async throws {
        var reader = reader
        try await reader.begin(&stream)
        var answers = answers(plan, writer)
        defer { record?.cost(prompts: [plan.prompt.count], answers.map(\.progress.usage)) }
        /// What all texts have cost so far, for the chunks of who asked.
        func runningUsage() -> JSONValue? {
            plan.fields.includesContinuousUsage
                ? AnswerWriter.usage(
                    answers.map(\.progress.usage), prompts: [plan.prompt.count]) : nil
        }
        for index in answers.indices {
            try await stream.write(
                writer.chatChunk(
                    index, delta: [("role", "assistant"), ("content", "")], usage: runningUsage())
            )
        }
        while let event = try await reader.next(&stream) {
            let index = event.index
            let addition = answers[index].progress.take(event.event)
            var deltas = answers[index].answer.append(addition)
            if answers[index].answer.isDone { answers[index].progress.stop() }
            if answers[index].progress.hasStopped {
                await router.cancel(plan.requests[index].id)
            }
            let reason = answers[index].progress.finish
            if let reason { deltas += answers[index].answer.finish(reason) }
            var scores = plan.chat.topLogprobs == nil ? nil : addition.tokens
            if deltas.isEmpty, let some = scores, !some.isEmpty { deltas = [.content("")] }
            for delta in deltas {
                try await stream.write(
                    writer.chatChunk(
                        index, delta: delta.members, scores: scores, usage: runningUsage()))
                scores = nil
            }
            if reason != nil {
                try await stream.write(
                    writer.chatChunk(
                        index, delta: [], finish: answers[index].answer.choice.finishReason,
                        usage: runningUsage()))
            }
        }
        if plan.fields.includesUsage {
            let usage = AnswerWriter.usage(
                answers.map(\.progress.usage), prompts: [plan.prompt.count])
            try await stream.write(writer.usageChunk("chat.completion.chunk", usage))
        }
    }
}
