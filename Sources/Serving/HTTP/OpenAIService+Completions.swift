import Encoding
import Hummingbird
import HummingbirdCore
import Language

/// A completion request that was understood.
struct CompletionPlan: Sendable {
    /// One text to be written, and the prompt it continues.
    struct Text: Sendable {
        var prompt: [Int]
        var request: GenerationRequest
    }

    let fields: GenerationFields
    let completion: CompletionFields
    let prompts: [[Int]]
    let texts: [Text]
    /// When the request was understood.
    let start = ContinuousClock.now
}

extension OpenAIService {
    /// Tokens generated when a completion does not say: what the API has always done.
    private static let defaultCompletionTokens = 16

    /// `POST /v1/completions`.
    func complete(_ request: Request, _ caller: Caller) async throws -> Response {
        let plan = try await understood(request, caller, shapes.completion) {
            try self.completionPlan($0)
        }
        let writer = writer("cmpl")
        let requests = plan.texts.map(\.request)
        let record = caller.record
        return try await answer(requests, streams: plan.fields.streams, caller) {
            try await self.answer(plan, $0, writer, record)
        } parts: {
            try await self.stream(plan, $0, writer, record, into: &$1)
        }
    }

    func completionPlan(_ body: JSONValue) throws -> CompletionPlan {
        let fields = try GenerationFields(body, defaults: text.defaults)
        let completion = CompletionFields(body)
        var prompts: [[Int]] = []
        var texts: [CompletionPlan.Text] = []
        for prompt in completion.prompts {
            var tokens: [Int]
            switch prompt {
            case .tokens(let given): tokens = given
            case .text(let words):
                tokens = text.tokenizer.encode(
                    words, addSpecialTokens: completion.addsSpecialTokens)
            }
            if tokens.isEmpty, let first = text.tokenizer.beginningOfSequenceID { tokens = [first] }
            prompts.append(tokens)
            let room = max(0, text.contextTokens - tokens.count)
            let requests = try self.requests(
                fields, prompt: tokens, promptName: "prompt",
                defaultTokens: min(room, Self.defaultCompletionTokens), offset: texts.count
            ) {
                $0.topLogprobs = completion.topLogprobs
                if completion.echoes { $0.promptTopLogprobs = completion.topLogprobs }
            }
            texts += requests.map { CompletionPlan.Text(prompt: tokens, request: $0) }
        }
        return CompletionPlan(
            fields: fields, completion: completion, prompts: prompts, texts: texts)
    }

    private func progress(_ plan: CompletionPlan) -> [TextProgress] {
        plan.texts.map { _ in
            TextProgress(
                TextAssembler(
                    text.tokenizer, stops: plan.fields.stopStrings,
                    skipsSpecialTokens: plan.fields.skipsSpecialTokens),
                minTokens: plan.fields.minTokens, metrics: metrics, start: plan.start)
        }
    }

    private func offsets(_ plan: CompletionPlan) -> [TextOffsets] {
        plan.texts.map { _ in
            TextOffsets(text.tokenizer, skipsSpecialTokens: plan.fields.skipsSpecialTokens)
        }
    }

    private func echo(_ plan: CompletionPlan, _ index: Int) -> String {
        guard plan.completion.echoes else { return "" }
        return text.tokenizer.decode(
            plan.texts[index].prompt, skipSpecialTokens: plan.fields.skipsSpecialTokens)
    }

    func answer(
        _ plan: CompletionPlan, _ reader: RequestStreamReader, _ writer: AnswerWriter,
        _ record: RequestRecord?
    ) async throws -> JSONValue {
        var reader = reader
        var progress = progress(plan)
        var offsets = offsets(plan)
        let prompts = plan.prompts.map(\.count)
        defer { record?.cost(prompts: prompts, progress.map(\.usage)) }
        var texts = plan.texts.indices.map { echo(plan, $0) }
        var scores = plan.texts.map { _ in [ScoredToken]() }
        while let event = try await reader.next() {
            let addition = progress[event.index].take(event.event)
            texts[event.index] += addition.text
            scores[event.index] += addition.tokens
            if progress[event.index].hasStopped {
                await router.cancel(plan.texts[event.index].request.id)
            }
        }
        let choices = texts.indices.map { index in
            let all = progress[index].promptScores + scores[index]
            return writer.completionChoice(
                index, text: texts[index],
                logprobs: plan.completion.topLogprobs == nil
                    ? .null : writer.completionScores(all, &offsets[index]),
                finish: AnswerWriter.reason(progress[index].finish ?? .stop))
        }
        let usage = AnswerWriter.usage(progress.map(\.usage), prompts: prompts)
        return writer.completion(choices, usage: usage)
    }

    private func stream(
        _ plan: CompletionPlan, _ reader: RequestStreamReader, _ writer: AnswerWriter,
        _ record: RequestRecord?, into stream: inout EventStreamWriter
    ) async throws {
        var reader = reader
        try await reader.begin(&stream)
        var progress = progress(plan)
        var offsets = offsets(plan)
        let prompts = plan.prompts.map(\.count)
        defer { record?.cost(prompts: prompts, progress.map(\.usage)) }
        while let event = try await reader.next(&stream) {
            let index = event.index
            var addition = progress[index].take(event.event)
            if case .began(let promptScores) = event.event, plan.completion.echoes {
                // The prompt goes first, with its scores where they were asked for.
                addition.text = echo(plan, index)
                addition.tokens = promptScores
            }
            if progress[index].hasStopped {
                await router.cancel(plan.texts[index].request.id)
            }
            let finish = progress[index].finish
            guard !addition.text.isEmpty || !addition.tokens.isEmpty || finish != nil else {
                continue
            }
            let choice = writer.completionChoice(
                index, text: addition.text,
                logprobs: plan.completion.topLogprobs == nil || addition.tokens.isEmpty
                    ? .null : writer.completionScores(addition.tokens, &offsets[index]),
                finish: finish.map { AnswerWriter.reason($0) })
            let usage =
                plan.fields.includesContinuousUsage
                ? AnswerWriter.usage(progress.map(\.usage), prompts: prompts) : nil
            try await stream.write(writer.completion([choice], usage: usage))
        }
        if plan.fields.includesUsage {
            let usage = AnswerWriter.usage(progress.map(\.usage), prompts: prompts)
            try await stream.write(writer.usageChunk("text_completion", usage))
        }
    }
}
