import Encoding
import Grammar
import Hummingbird
import HummingbirdCore
import Language

/// A chat request that was understood: what goes to the engines, and how answers are read.
struct ChatPlan: Sendable {
    var fields: GenerationFields
    let chat: ChatFields
    var form: AnswerForm
    /// The calls that the model may make by itself.
    var freeCalls: FreeCalls?
    var prompt: [Int] = []
    var beginsThinking = false
    /// Where the answer begins, if it is messages in channels.
    var channels: ChannelStart?
    /// Empty where only the prompt was asked for.
    var requests: [GenerationRequest] = []
    /// When the request was understood.
    let start = ContinuousClock.now
}

extension OpenAIService {
    /// `POST /v1/chat/completions`.
    func chat(_ request: Request, _ caller: Caller) async throws -> Response {
        let plan = try await withCalls(
            understood(request, caller, shapes.chat) { try self.plan($0) }, for: caller.address)
        return try await answer(plan, caller, chatCompletions(plan))
    }

    /// How Chat Completions writes the answer.
    func chatCompletions(_ plan: ChatPlan) -> ChatCompletions {
        ChatCompletions(
            writer: writer("chatcmpl"), wantsScores: plan.chat.topLogprobs != nil,
            includesUsage: plan.fields.includesUsage,
            includesContinuousUsage: plan.fields.includesContinuousUsage,
            choiceCount: plan.requests.count)
    }

    /// Answers a chat in the words of one API.
    func answer(
        _ plan: ChatPlan, _ caller: Caller, _ dialect: some ChatDialect
    ) async throws -> Response {
        let record = caller.record
        return try await answer(plan.requests, streams: plan.fields.streams, caller) {
            try await self.answer(plan, $0, dialect, record)
        } parts: {
            var dialect = dialect
            do {
                try await self.stream(plan, $0, &dialect, record, into: &$1)
            } catch {
                try await $1.fail(dialect.failure(APIError(error)))
            }
        }
    }

    /// Has an error that a request of Chat Completions meets name members as another API does.
    func inWords<Answer>(
        _ renamed: (APIError) -> APIError, _ answer: () async throws -> Answer
    ) async throws -> Answer {
        do { return try await answer() } catch {
            guard error is APIError || error is ServingError else { throw error }
            throw renamed(APIError(error))
        }
    }

    /// Has the calls that the model makes by itself keep to their form and their tools' schemas.
    ///
    /// - Parameter address: Whom the work counts for.
    func withCalls(_ plan: ChatPlan, for address: String) async throws -> ChatPlan {
        guard let free = plan.freeCalls,
            let trigger = free.trigger(
                text.thoughtMarks, isInside: plan.beginsThinking,
                begun: plan.channels == .header ? text.answerAuthor : nil)
        else { return plan }
        let bytes = Self.constraintBytes / max(1, plan.requests.count)
        let constraint = try await free.constraint(within: bytes, grammars) { tools in
            try await self.lane.run(for: address) { free.rest(tools) }
        }
        var plan = plan
        for index in plan.requests.indices {
            plan.requests[index].constraint = constraint
            plan.requests[index].trigger = trigger
        }
        return plan
    }

    /// What a request of Chat Completions asks for.
    func plan(_ body: JSONValue) throws -> ChatPlan {
        var plan = try prompted(body)
        let (topLogprobs, budget) = (
            plan.chat.topLogprobs,
            try text.thoughtBudget(plan.chat.thoughtBudget, isInside: plan.beginsThinking)
        )
        plan.requests = try requests(plan.fields, prompt: plan.prompt, promptName: "messages") {
            $0.topLogprobs = topLogprobs
            $0.thoughtBudget = budget
            if !plan.fields.ignoresEndTokens { $0.stopTokens += text.channelEnds }
        }
        return plan
    }

    /// The prompt of a request of Chat Completions, and how its answer is to be read.
    func prompted(_ body: JSONValue) throws -> ChatPlan {
        let chat = try ChatFields(body)
        let tools = chat.toolChoice == .none ? [] : chat.tools
        let calls = try text.callForm(
            for: chat.messages, tools: tools, thinks: ChatFields.templateSwitch(body))
        var plan = ChatPlan(
            fields: try GenerationFields(body, defaults: text.defaults), chat: chat,
            form: .free(
                calls: chat.toolChoice == .none ? nil : calls,
                limit: chat.allowsParallelCalls ? .max : 1))
        if !text.channelTokens.isEmpty {
            plan.channels = chat.messages.last?.isPrefix == true ? .words : .header
        }
        let named =
            plan.channels == .header
            ? constrainMessages(&plan, tools) : try constrain(&plan, tools, calls)
        let rendered = try render(chat, thinks: plan.fields.constraint == nil ? chat.thinks : false)
        plan.prompt = rendered.ids(text.tokenizer)
        plan.beginsThinking = rendered.endsInThought
        if let named, let calls {
            plan.prompt += calls.beginning(
                ofCall: named.name, number: chat.callCount, text.tokenizer)
        }
        return plan
    }

    /// Constrains an answer to the calls that the request asks for.
    ///
    /// - Returns: The tool whose call the prompt is to begin.
    private func constrain(
        _ plan: inout ChatPlan, _ tools: [Tool], _ calls: CallForm?
    ) throws(APIError) -> Tool? {
        var named: Tool?
        switch plan.chat.toolChoice {
        case .none: break
        case .auto:
            guard let calls, !tools.isEmpty else { break }
            let constraint = CallConstraint(tokenizer: text.tokenizer, form: calls)
            let limit = plan.chat.allowsParallelCalls ? nil : 1
            guard let wanted = plan.fields.constraint else {
                plan.freeCalls = FreeCalls(form: constraint, tools: tools, limit: limit)
                break
            }
            // A call in the model's format, or what the response format asks for. The members of
            // structured_outputs say what the whole text is, and words that go on are no call.
            guard plan.fields.isResponseFormat, plan.channels != .words else { break }
            guard calls.hasPlainArguments else {
                throw .invalid(
                    "a response format beside tools needs calls whose arguments are JSON, which "
                        + "this model's are not: set tool_choice to none, or leave one of them out",
                    parameter: "response_format")
            }
            plan.fields.constraint = .either([
                wanted, constraint.calls(of: tools, atMost: limit),
            ])
        case .named(let name): named = tools.first { $0.name == name }
        case .required:
            if tools.count == 1 {
                named = tools[0]
            } else {
                plan.form = .call
                plan.fields.constraint = .either(tools.map(\.call))
            }
        }
        if let tool = named, calls?.hasPlainArguments == false {
            // Such a call is not begun in the prompt: the answer says it as JSON.
            plan.form = .call
            plan.fields.constraint = tool.call
            return nil
        }
        if let named {
            plan.form = .arguments(of: named.name)
            plan.fields.constraint = named.arguments
        }
        return named
    }

    /// The prompt of a chat.
    func render(_ chat: ChatFields, thinks: Bool?) throws(APIError) -> ChatPrompt {
        try text.render(
            chat.messages, tools: chat.toolChoice == .none ? [] : chat.tools, thinks: thinks,
            effort: chat.effort, date: chat.date, keepsThoughts: chat.keepsThoughts)
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
            request.cacheSalt = prefixes.root(of: fields.cacheSalt)
            adjust(&request)
            return request
        }
    }
}
