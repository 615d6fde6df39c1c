import Foundation
import Synchronization
import Testing

/// Greedy texts that a client asks for all at once, half of them as streams.
enum StreamedTexts {
    static let count = 8
    private static let tokens = 240

    /// One text, streamed or not.
    private static func text(_ client: Client, _ number: Int) async throws -> String {
        let isStream = number % 2 == 0
        let (status, body) = try await client.ask(
            "Once upon a time there was a dog with \(number) bones", tokens: tokens,
            more: ["stream": isStream, "ignore_eos": true])
        guard status == 200 else { throw Failure("status \(status): \(body)") }
        let lines = body.split(separator: "\n")
        let events =
            isStream
            ? lines.compactMap { $0.hasPrefix("data: {") ? $0.dropFirst(6) : nil }
            : [body[...]]
        guard !isStream || lines.last == "data: [DONE]" else { throw Failure("no end: \(body)") }
        return try events.map { event in
            let value = try JSONSerialization.jsonObject(with: Data(event.utf8)) as? [String: Any]
            guard let choices = value?["choices"] as? [[String: Any]] else {
                throw Failure("no choices: \(event)")
            }
            return choices.first?["text"] as? String ?? ""
        }.joined()
    }

    /// What has become of the texts.
    private final class Endings: Sendable {
        struct State {
            /// Those that came whole.
            var whole = 0
            var failure: (any Error)?
            /// Whether texts are asked for no more.
            var isOver = false
        }

        let state = Mutex(State())
    }

    /// Every text at once; `disturb` runs while they are on their way, which is checked.
    static func all(
        _ client: Client, disturb: (() async throws -> Void)? = nil
    ) async throws -> [String] {
        let before = try await client.begunTexts()
        let endings = Endings()
        let tasks = (0 ..< count).map { number in
            Task {
                do {
                    let found = try await text(client, number)
                    endings.state.withLock { $0.whole += 1 }
                    return found
                } catch {
                    endings.state.withLock { $0.failure = error }
                    throw error
                }
            }
        }
        // What a failure leaves ends by itself: a cancelled URLSession may never answer again.
        if let disturb {
            try await waitUntilBegun(client, before, endings)
            try await disturb()
            let whole = endings.state.withLock { $0.whole }
            guard whole < count else { throw Failure("every text had ended: nothing disturbed it") }
        }
        var texts: [String] = []
        for task in tasks { texts.append(try await task.value) }
        return texts
    }

    /// Every text at once, and each again as soon as it is there, until `disturb` has returned,
    /// because `disturb` may take longer than a text.
    ///
    /// - Throws: `Failure` when a text is not the expected one.
    static func repeated(
        _ client: Client, expecting expected: [String], while disturb: () async throws -> Void
    ) async throws {
        let before = try await client.begunTexts()
        let endings = Endings()
        let tasks = (0 ..< count).map { number in
            Task {
                do {
                    repeat {
                        let found = try await text(client, number)
                        guard found == expected[number] else {
                            throw Failure("\(found) is not \(expected[number])")
                        }
                    } while !endings.state.withLock({ $0.isOver })
                } catch {
                    endings.state.withLock { $0.failure = error }
                    throw error
                }
            }
        }
        do {
            defer { endings.state.withLock { $0.isOver = true } }
            try await waitUntilBegun(client, before, endings)
            try await disturb()
        }
        for task in tasks { try await task.value }
    }

    /// Returns once as many texts have begun as are asked for at once.
    private static func waitUntilBegun(
        _ client: Client, _ before: Double, _ endings: Endings
    ) async throws {
        try await Wait.until("\(count) texts have begun") {
            if let failure = endings.state.withLock({ $0.failure }) { throw failure }
            return try await client.begunTexts() >= before + Double(count)
        }
    }

    /// Asks for every text again and again until `/health` says a word: what happens until then
    /// happens while texts are on their way.
    ///
    /// - Throws: `Failure` when a text is not the expected one, or the word does not come.
    static func repeated(
        _ client: Client, until word: String, expecting expected: [String]
    ) async throws {
        try await Wait.until("/health says \(word)", seconds: 120) {
            let texts = try await all(client)
            guard texts == expected else { throw Failure("\(texts) are not \(expected)") }
            return try await client.health().contains("\"\(word)\"")
        }
    }
}
