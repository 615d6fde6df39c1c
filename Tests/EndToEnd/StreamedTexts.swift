import Foundation
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

    /// Every text at once; `disturb` runs while they are on their way.
    static func all(
        _ client: Client, disturb: () async throws -> Void = {}
    ) async throws -> [String] {
        let tasks = (0 ..< count).map { number in
            Task { try await text(client, number) }
        }
        let limit = ContinuousClock.now + .seconds(20)
        while try await client.metric("num_requests_running") < Double(count), .now < limit {
            try await Task.sleep(for: .milliseconds(5))
        }
        try await disturb()
        var texts: [String] = []
        for task in tasks { texts.append(try await task.value) }
        return texts
    }
}
