import Encoding
import NIOHTTP1
import Serving

/// Asks a server the same questions many times, many at once, and counts the texts it gives.
///
/// A server whose texts depend on what else it computes gives several texts for one question.
public struct DeterminismBenchmark: Sendable {
    /// Where the server is and what it is asked.
    public struct Configuration: Sendable {
        /// The server.
        public var host = "127.0.0.1"
        /// Its port.
        public var port = 8080
        /// A key, if it wants one.
        public var key: String?
        /// Greedy requests, and as many that are sampled with a seed.
        public var requests = 500
        /// Different prompts.
        public var prompts = 10
        /// Requests under way at once.
        public var streams = 32
        /// Tokens of each answer, exactly.
        public var tokens = 64

        /// The defaults.
        public init() {}
    }

    private let configuration: Configuration

    /// Prepares a benchmark.
    public init(_ configuration: Configuration) { self.configuration = configuration }

    /// One question, asked many times.
    private struct Question {
        let mode: DeterminismReport.Mode
        let prompt: Int
        let body: String
    }

    /// Asks everything.
    ///
    /// Greedy and sampled requests alternate, so they share steps; each prompt has one length of
    /// its own.
    ///
    /// - Parameter progress: Called with the answers so far and those in all.
    /// - Throws: `ServingError` for a server that is not there or refuses a request.
    public func run(
        _ progress: @Sendable (_ done: Int, _ all: Int) -> Void = { _, _ in }
    ) async throws -> DeterminismReport {
        let model = try await HTTPConnection.modelName(at: address, headers: headers)
        var report = DeterminismReport(model: model, streams: configuration.streams)
        let questions = (0 ..< configuration.requests).flatMap { number in
            DeterminismReport.Mode.allCases.map {
                question($0, number % configuration.prompts, model)
            }
        }
        try await withThrowingTaskGroup(of: (Int, String).self) { group in
            var waiting = questions.indices.makeIterator()
            func add() {
                guard let index = waiting.next() else { return }
                group.addTask { (index, try await answer(questions[index].body)) }
            }
            for _ in 0 ..< configuration.streams { add() }
            for try await (index, text) in group {
                report.add(text, to: questions[index].prompt, questions[index].mode)
                progress(report.answers, questions.count)
                add()
            }
        }
        return report
    }

    private func question(
        _ mode: DeterminismReport.Mode, _ prompt: Int, _ model: String
    ) -> Question {
        let friends = String(repeating: " and a friend", count: prompt)
        let body: JSONValue = [
            "model": .string(model), "max_tokens": .number(configuration.tokens),
            "prompt": .string("Once upon a time there was a cat number \(prompt)\(friends)."),
            "temperature": .number(mode == .greedy ? 0.0 : 0.9), "seed": .number(prompt),
            "ignore_eos": true,
        ]
        return Question(mode: mode, prompt: prompt, body: body.text)
    }

    private var address: HTTPConnection.Address {
        .init(host: configuration.host, port: configuration.port)
    }

    private var headers: [(String, String)] {
        configuration.key.map { [("authorization", "Bearer \($0)")] } ?? []
    }

    private func answer(_ body: String) async throws -> String {
        let answer = try await HTTPConnection.value(
            .POST, "/v1/completions", body: body, headers: headers, at: address)
        guard let text = answer["choices"]?.array?.first?["text"]?.string else {
            throw ServingError.unavailable(message: "an answer without text: \(answer.text)")
        }
        return text
    }
}
