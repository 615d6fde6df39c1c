import Encoding
import Hummingbird
import Language

/// The texts of one chat as their events arrive: text to pieces of an answer, and what it costs.
struct ChatTexts {
    /// What a step added to one of the texts.
    struct Step {
        let index: Int
        let deltas: [ChatAnswer.Delta]
        let tokens: [ScoredToken]
        /// Whether the engine need not go on.
        let hasStopped: Bool
        /// The whole text, once it has ended.
        let choice: ChatChoice?
    }

    private let promptTokens: Int
    private var texts: [(progress: TextProgress, answer: ChatAnswer)]

    init(_ plan: ChatPlan, _ text: ModelText, _ metrics: ServiceMetrics, callPrefix: String) {
        promptTokens = plan.prompt.count
        texts = plan.requests.indices.map { index in
            let assembler = TextAssembler(
                text.tokenizer, stops: plan.fields.stopStrings,
                skipsSpecialTokens: plan.fields.skipsSpecialTokens,
                kept: text.structureTokens,
                gate: ThoughtGate(isInside: plan.beginsThinking), marks: text.channelTokens,
                beginsInHeader: plan.channels == .header)
            return (
                TextProgress(
                    assembler, minTokens: plan.fields.minTokens, metrics: metrics,
                    start: plan.start),
                ChatAnswer(
                    index: index, form: plan.form,
                    thought: ThoughtCount(text.thoughtMarks, isInside: plan.beginsThinking),
                    wantsScores: plan.chat.topLogprobs != nil, callPrefix: callPrefix,
                    tools: plan.chat.tools, channels: plan.channels)
            )
        }
    }

    /// What the texts have cost so far.
    var cost: ChatCost {
        ChatCost(
            promptTokens: promptTokens, texts: texts.map(\.progress.usage),
            thoughtTokens: texts.reduce(0) { $0 + $1.answer.thoughtTokens })
    }

    /// The texts as they are.
    var choices: [ChatChoice] { texts.map(\.answer.choice) }

    mutating func take(_ event: RequestStreamReader.Event) -> Step {
        let index = event.index
        let addition = texts[index].progress.take(event.event)
        var deltas = texts[index].answer.append(addition)
        if texts[index].answer.isDone { texts[index].progress.stop() }
        let finish = texts[index].progress.finish
        if let finish {
            deltas += texts[index].answer.finish(
                finish, stopString: texts[index].progress.stopString)
        }
        return Step(
            index: index, deltas: deltas, tokens: addition.tokens,
            hasStopped: texts[index].progress.hasStopped,
            choice: finish == nil ? nil : texts[index].answer.choice)
    }
}

extension OpenAIService {
    /// The whole answer of a chat.
    func answer(
        _ plan: ChatPlan, _ reader: RequestStreamReader, _ dialect: some ChatDialect,
        _ record: RequestRecord?
    ) async throws -> JSONValue {
        var reader = reader
        var texts = ChatTexts(plan, text, metrics, callPrefix: dialect.callPrefix)
        defer { record?.cost(prompts: [plan.prompt.count], texts.cost.texts) }
        while let event = try await reader.next() {
            if texts.take(event).hasStopped { await router.cancel(plan.requests[event.index].id) }
        }
        return dialect.whole(texts.choices, texts.cost)
    }

    /// The answer of a chat, piece by piece.
    func stream(
        _ plan: ChatPlan, _ reader: RequestStreamReader, _ dialect: inout some ChatDialect,
        _ record: RequestRecord?, into stream: inout EventStreamWriter
    ) async throws {
        var reader = reader
        try await reader.begin(&stream)
        var texts = ChatTexts(plan, text, metrics, callPrefix: dialect.callPrefix)
        defer { record?.cost(prompts: [plan.prompt.count], texts.cost.texts) }
        for event in dialect.begin(texts.cost) { try await stream.write(event) }
        while let event = try await reader.next(&stream) {
            let step = texts.take(event)
            if step.hasStopped { await router.cancel(plan.requests[step.index].id) }
            let cost = texts.cost
            var events = dialect.add(step.deltas, step.tokens, to: step.index, cost)
            if let choice = step.choice { events += dialect.finish(choice, cost) }
            for event in events { try await stream.write(event) }
        }
        for event in dialect.end(texts.cost) { try await stream.write(event) }
        try await stream.finish(writesDone: dialect.writesDone)
    }
}
