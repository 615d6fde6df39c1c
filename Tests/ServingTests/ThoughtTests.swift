import Encoding
import Foundation
import Language
import Testing

@testable import Serving

/// Thoughts are counted, and end where the request says.
@Suite(.serialized) struct ThoughtTests {
    @Test func `a thought is counted with the marks that were generated`() {
        let marks = ThoughtCount.Marks(begin: 7, end: 9)
        func count(_ tokens: [Int], isInside: Bool) -> Int {
            var count = ThoughtCount(marks, isInside: isInside)
            for token in tokens { count.append(token) }
            return count.count
        }
        #expect(count([1, 2, 9, 3, 9], isInside: true) == 3)
        #expect(count([7, 2, 9, 3], isInside: false) == 3)
        #expect(count([1, 7, 2, 9], isInside: false) == 0)
        #expect(count([], isInside: true) == 0)
        // GLM-4.5 begins a thought on a line of its own.
        var lines = ThoughtCount(
            ThoughtCount.Marks(begin: 7, end: 9, lines: [5, 6]), isInside: false)
        for token in [6, 5, 7, 2, 9, 3] { lines.append(token) }
        #expect(lines.count == 3)
    }

    private func texts(_ budget: ThoughtBudget?, loud: Int, count: Int) throws -> [Int] {
        var request = GenerationRequest(
            id: RequestID(rawValue: 1), prompt: [1], maxNewTokens: count)
        request.sampling = .greedy
        request.thoughtBudget = budget
        var active = try ActiveRequest(request) { nil }
        var logits = [Float](repeating: 0, count: 16)
        logits[loud] = 5
        while active.finish == nil { _ = try active.choose(from: logits.span, endTokens: []) }
        // A rank that goes on with the text chooses the same.
        for told in 0 ..< count {
            request.resumption = Resumption(
                hasBegun: true, tokens: Array(active.generated.prefix(told)))
            var other = try ActiveRequest(request) { nil }
            while other.finish == nil { _ = try other.choose(from: logits.span, endTokens: []) }
            #expect(other.generated == active.generated)
        }
        return active.generated
    }

    @Test func `a thought at its limit is ended, once`() throws {
        var budget = ThoughtBudget(tokens: 3, beginToken: 7, endToken: 9, isInside: true)
        #expect(try texts(budget, loud: 5, count: 7) == [5, 5, 5, 9, 5, 5, 5])
        #expect(try texts(budget, loud: 9, count: 3) == [9, 9, 9])
        budget.tokens = 0
        #expect(try texts(budget, loud: 5, count: 3) == [9, 5, 5])
        budget.isInside = false
        budget.tokens = 2
        #expect(try texts(budget, loud: 5, count: 4) == [5, 5, 5, 5])
        #expect(try texts(budget, loud: 7, count: 5) == [7, 7, 7, 9, 7])
        #expect(try texts(nil, loud: 5, count: 3) == [5, 5, 5])
        budget.lineTokens = [7, 6]
        budget.beginToken = 5
        #expect(try texts(budget, loud: 5, count: 5) == [5, 5, 5, 9, 5])
    }

    @Test func `a second thought has what the first one left`() throws {
        var budget = ThoughtBudget(
            tokens: 3, beginToken: nil, opening: [5], endToken: 9, isInside: false)
        #expect(try texts(budget, loud: 5, count: 8) == [5, 5, 5, 5, 9, 5, 9, 5])
        budget.opening = [5, 5]
        #expect(try texts(budget, loud: 5, count: 9) == [5, 5, 5, 5, 5, 9, 5, 5, 9])
    }

    /// The small model in R1's format, with one of its tokens as the end of thoughts.
    private func thinker(hasEnd: Bool) throws -> ModelText {
        let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        for name in ["config.json", "tokenizer.json"] {
            let text = try String(contentsOfFile: Golden.stories + "/" + name, encoding: .utf8)
            try (hasEnd ? text.replacing("<｜▁pad▁｜>", with: "</think>") : text).write(
                to: folder.appending(path: name), atomically: true, encoding: .utf8)
        }
        return try ModelText(directory: folder.path, name: "stories-fp8", chatStyle: "r1")
    }

    @Test func `a budget bounds the thought of every API`() async throws {
        let chat = #""messages":[{"role":"user","content":"Hi"}],"max_tokens":20,"temperature":0"#
        let server = try await TestServer(ranks: 1, text: thinker(hasEnd: true))
        let (status, answer) = try await server.post(
            "/v1/chat/completions", "{\(chat),\"thinking_token_budget\":4}")
        #expect(status == 200, "\(answer.text)")
        let usage = answer["usage"]?["completion_tokens_details"]
        #expect(usage?["reasoning_tokens"] == 5, "\(answer.text)")
        let message = answer["choices"]?.array?.first?["message"]
        #expect(message?["content"]?.string?.isEmpty == false)
        let (_, block) = try await server.post(
            "/v1/messages",
            #"{"model":"stories-fp8","thinking":{"type":"enabled","budget_tokens":4},\#(chat)}"#)
        #expect(block["content"]?.array?.first?["thinking"] == message?["reasoning"])
        #expect(block["content"]?.array?.last?["text"] == message?["content"], "\(block.text)")
        try await server.stop()
        let other = try await TestServer(ranks: 1, text: thinker(hasEnd: false))
        let (refused, error) = try await other.post(
            "/v1/chat/completions", "{\(chat),\"thinking_token_budget\":4}")
        #expect(refused == 400 && error.text.contains("no token that ends a thought"))
        try await other.stop()
    }
}
