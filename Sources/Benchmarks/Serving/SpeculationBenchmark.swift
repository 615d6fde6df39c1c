import Serving

/// Whether drafting pays for one stream: the same questions to a server that drafts and to one that
/// does not, in turn.
public struct SpeculationBenchmark: Sendable {
    /// What all answers of one server cost.
    public struct Side: Codable, Hashable, Sendable {
        /// Tokens after the first of each answer.
        public var tokens = 0
        /// Seconds in which they came.
        public var seconds = 0.0

        /// Tokens of one stream per second.
        public var tokensPerSecond: Double { seconds > 0 ? Double(tokens) / seconds : 0 }

        mutating func add(_ cost: ChatQuestion.Cost) {
            tokens += max(0, cost.tokens - 1)
            seconds += cost.streaming
        }

        /// Tokens per second over those of another server.
        ///
        /// - Throws: `ServingError.unavailable` if one of them gave no token after a first.
        func gain(over other: Side) throws(ServingError) -> Double {
            guard tokensPerSecond > 0, other.tokensPerSecond > 0 else {
                throw .unavailable(
                    message: "the answers of a round have \(tokens) and \(other.tokens) tokens "
                        + "after their first: only those are timed, and both servers need some")
            }
            return tokensPerSecond / other.tokensPerSecond
        }
    }

    /// Both servers.
    public struct Result: Codable, Sendable {
        /// The server that drafts.
        public var drafting = Side()
        /// The server that does not.
        public var plain = Side()
        /// Per round, tokens per second with drafts over those without.
        public var gains: [Double] = []
        /// The part of drafts that were accepted; nil if none was made.
        public var acceptance: Double?
        /// Steps of the two servers.
        public var draftingSteps = 0.0
        public var plainSteps = 0.0
        /// Whether both gave the same answers.
        public var isSame = true

        /// The round in the middle.
        public var gain: Double {
            let sorted = gains.sorted()
            return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
        }
    }

    private let addresses: [HTTPConnection.Address]

    /// - Parameters:
    ///   - drafting: Where the server that drafts listens.
    ///   - plain: Where the other one does.
    public init(drafting: (host: String, port: Int), plain: (host: String, port: Int)) {
        addresses = [drafting, plain].map { .init(host: $0.host, port: $0.port) }
    }

    /// Asks every question of both servers, greedily, once unmeasured and then `rounds` times.
    ///
    /// - Throws: `ServingError.unavailable` if a server does not answer, or with one token each.
    public func run(
        _ questions: [String], maximumTokens: Int, rounds: Int
    ) async throws -> Result {
        var result = Result()
        var before: [ServerSteps] = []
        for round in 0 ... rounds {
            var sides = [Side(), Side()]
            var answers: [[String]] = [[], []]
            // Who comes first changes: neither always meets the machine as the other left it.
            for side in round % 2 == 0 ? [0, 1] : [1, 0] {
                for question in questions {
                    let (answer, cost) = try await ask(question, addresses[side], maximumTokens)
                    sides[side].add(cost)
                    answers[side].append(answer)
                }
            }
            if answers[0] != answers[1] { result.isSame = false }
            if round == 0 {
                for address in addresses {
                    before.append(try await ServerSteps.read(from: address))
                }
                continue
            }
            result.drafting.tokens += sides[0].tokens
            result.drafting.seconds += sides[0].seconds
            result.plain.tokens += sides[1].tokens
            result.plain.seconds += sides[1].seconds
            result.gains.append(try sides[0].gain(over: sides[1]))
        }
        let steps = try await ServerSteps.read(from: addresses[0]).since(before[0])
        result.acceptance = steps.acceptance
        result.draftingSteps = steps.steps
        result.plainSteps = try await ServerSteps.read(from: addresses[1]).since(before[1]).steps
        return result
    }

    private func ask(
        _ question: String, _ address: HTTPConnection.Address, _ maximumTokens: Int
    ) async throws -> (String, ChatQuestion.Cost) {
        let text = PieceCollector()
        let cost = try await ChatQuestion(host: address.host, port: address.port).ask(
            question, maximumTokens: maximumTokens, receive: { text.add($0) })
        return (text.text, cost)
    }
}
