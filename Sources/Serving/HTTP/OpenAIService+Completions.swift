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
}

extension OpenAIService {
    /// Tokens generated when a completion does not say: what the API has always done.
    private static let defaultCompletionTokens = 16

    /// `POST /v1/completions`.
    func complete(_ request: Request, _ caller: Caller) async throws -> Response {
        let body = try await body(request, caller, shapes.completion)
        let plan = try completionPlan(body)
        let writer = writer("cmpl")
        let requests = plan.texts.map(\.request)
        return try await answer(requests, streams: plan.fields.streams, caller) {
            try await self.answer(plan, $0, writer)
        } parts: {
            try await self.stream(plan, $0, writer, into: &$1)
        }
    }

    private func completionPlan(_ body: JSONValue) throws -> CompletionPlan {
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
                fields, prompt: tokens, defaultTokens: min(room, Self.defaultCompletionTokens),
                offset: texts.count
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
                    skipsSpecialTokens: plan.fields.skipsSpecialTokens), metrics: metrics)
        }
    }

    private func echo(_ plan: CompletionPlan, _ index: Int) -> String {
        guard plan.completion.echoes else { return "" }
        return text.tokenizer.decode(
            plan.texts[index].prompt, skipSpecialTokens: plan.fields.skipsSpecialTokens)
    }

    private func answer(
        _ plan: CompletionPlan, _ reader: RequestStreamReader, _ writer: AnswerWriter
    ) async throws -> Response {
        var reader = reader
        var progress = progress(plan)
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
                    ? .null : writer.completionScores(all),
                finish: AnswerWriter.reason(progress[index].finish ?? .stop, []))
        }
        let usage = AnswerWriter.usage(progress.map(\.usage), prompts: plan.prompts.map(\.count))
        return .json(writer.completion(choices, usage: usage))
    }

    private func stream(
        _ plan: CompletionPlan, _ reader: RequestStreamReader, _ writer: AnswerWriter,
        into stream: inout EventStreamWriter
    ) async throws {
        var reader = reader
        var progress = progress(plan)
        for index in progress.indices where plan.completion.echoes {
            let choice = writer.completionChoice(
                index, text: echo(plan, index), logprobs: .null, finish: nil)
            try await stream.write(writer.completion([choice], usage: nil))
        }
        while let event = try await reader.next() {
            let index = event.index
            let addition = progress[index].take(event.event)
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
                    ? .null : writer.completionScores(addition.tokens),
                finish: finish.map { AnswerWriter.reason($0, []) })
            try await stream.write(writer.completion([choice], usage: nil))
        }
        if plan.fields.includesUsage {
            let usage = AnswerWriter.usage(
                progress.map(\.usage), prompts: plan.prompts.map(\.count))
            try await stream.write(writer.usageChunk("text_completion", usage))
        }
    }
}
