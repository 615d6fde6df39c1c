import Encoding
import NIOHTTP1
import NIOPosix
import Serving

/// One question to a running server, and what answering it cost: the first thing a job is shown by.
public struct ChatQuestion: Sendable {
    /// What one answer cost.
    public struct Cost: Sendable {
        /// Tokens of the answer.
        public var tokens = 0
        /// Seconds until the first piece of text.
        public var firstToken = 0.0
        /// Seconds from the first piece to the last.
        public var streaming = 0.0
        /// Share of the ranks' step time spent in all-to-all, since they started; 0...1.
        public var allToAllShare = 0.0
        /// Share of that all-to-all which computation hid; 0...1.
        public var hiddenShare = 0.0

        /// Tokens per second after the first.
        public var tokensPerSecond: Double {
            streaming > 0 ? Double(tokens - 1) / streaming : 0
        }
    }

    private let address: HTTPConnection.Address

    /// A question to the server at this address.
    public init(host: String, port: Int) { address = .init(host: host, port: port) }

    /// Asks, and hands over the answer's text as it arrives.
    ///
    /// - Throws: `ServingError.unavailable` with the server's words if it does not answer.
    public func ask(
        _ text: String, maximumTokens: Int, receive: @Sendable (String) -> Void
    ) async throws -> Cost {
        let body: JSONValue = [
            "messages": [["role": "user", "content": .string(text)]], "stream": true,
            "temperature": 0, "max_tokens": .number(maximumTokens),
            "stream_options": ["include_usage": true],
        ]
        var cost = Cost()
        var answer = StreamedAnswer()
        let clock = ContinuousClock()
        let start = clock.now
        var first: ContinuousClock.Instant?
        try await HTTPConnection.send(
            .POST, "/v1/chat/completions", body: body.text, to: address,
            on: MultiThreadedEventLoopGroup.singleton
        ) { part in
            try answer.take(part) { piece in
                guard !piece.isEmpty else { return }
                first = first ?? clock.now
                receive(piece)
            }
        }
        if let failure = answer.failure { throw ServingError.unavailable(message: failure) }
        guard let first else {
            throw ServingError.unavailable(message: "the server answered without text")
        }
        cost.tokens = answer.tokens
        cost.firstToken = start.duration(to: first).seconds
        cost.streaming = first.duration(to: clock.now).seconds
        try await addShares(to: &cost)
        return cost
    }

    /// Reads where the ranks' time went from the server's metrics.
    private func addShares(to cost: inout Cost) async throws {
        let steps = try await ServerSteps.read(from: address)
        cost.allToAllShare = steps.allToAllShare
        cost.hiddenShare = steps.hiddenShare
    }
}
