import Encoding
import NIOCore
import NIOHTTP1
import NIOPosix
import Serving

/// A client of a disturbed server.
struct ChaosClient: Sendable {
    /// A request; its answer is always the same.
    struct Question: Sendable {
        let body: String
    }

    /// What became of a request.
    struct Answer: Sendable {
        /// The text, byte by byte.
        var text: [UInt8] = []
        /// Pieces that came.
        var pieces = 0
        /// Why there is no whole text.
        var failure: String?
        /// Whether the client left on purpose.
        var hasLeft = false
        /// The longest time between two pieces, in seconds.
        var longestGap = 0.0
    }

    private struct Leaving: Error {}

    private let configuration: ChaosBenchmark.Configuration

    init(_ configuration: ChaosBenchmark.Configuration) { self.configuration = configuration }

    private var address: HTTPConnection.Address {
        .init(host: configuration.host, port: configuration.port)
    }

    /// The requests of a run.
    func questions() async throws -> [Question] {
        let model = try await HTTPConnection.modelName(at: address)
        return (0 ..< configuration.prompts).map { number in
            let body: JSONValue = [
                "model": .string(model),
                "prompt": .string("Once upon a time there was a cat with \(number) friends."),
                "max_tokens": .number(configuration.tokens), "ignore_eos": true, "stream": true,
                "temperature": .number(number % 2 == 0 ? 0.0 : 0.9), "seed": .number(number),
            ]
            return Question(body: body.text)
        }
    }

    /// The answers of a job that nobody disturbs, as many at a time as the run will have.
    func answers(_ questions: [Question]) async throws -> [[UInt8]] {
        try await withThrowingTaskGroup(of: (Int, Answer).self) { group in
            var answers = [[UInt8]](repeating: [], count: questions.count)
            var waiting = questions.indices.makeIterator()
            func add() {
                guard let index = waiting.next() else { return }
                group.addTask { (index, await answer(questions[index])) }
            }
            for _ in 0 ..< configuration.streams { add() }
            for try await (index, answer) in group {
                if let failure = answer.failure {
                    throw ServingError.unavailable(message: "undisturbed: \(failure)")
                }
                answers[index] = answer.text
                add()
            }
            return answers
        }
    }

    /// Asks.
    ///
    /// - Parameter pieces: The client leaves after so many; nil stays.
    func answer(_ question: Question, leavingAfter pieces: Int? = nil) async -> Answer {
        var answer = Answer()
        var stream = StreamedAnswer()
        var last = ContinuousClock.now
        do {
            try await HTTPConnection.send(
                .POST, "/v1/completions", body: question.body, to: address,
                on: MultiThreadedEventLoopGroup.singleton, silence: .seconds(60)
            ) { part in
                try stream.take(part) { text in
                    answer.text += text.utf8
                    answer.pieces += 1
                    let now = ContinuousClock.now
                    answer.longestGap = max(answer.longestGap, last.duration(to: now).seconds)
                    last = now
                    if let pieces, answer.pieces > pieces { throw Leaving() }
                }
            }
        } catch is Leaving {
            answer.hasLeft = true
            return answer
        } catch { stream.fail(error) }
        answer.failure = stream.failure.map { "\(answer.pieces) pieces, \($0)" }
        return answer
    }

    /// Waits until a rank that comes back takes part, so that it is not taken for the next one.
    func settle(until limit: ContinuousClock.Instant) async {
        while ContinuousClock.now < limit, await health().status != 200 {
            do { try await Task.sleep(for: .milliseconds(5)) } catch { return }
        }
    }

    /// Watches what `/health` says of a rank that was just disturbed, or whether it says anything
    /// without the coordinator.
    ///
    /// - Parameter before: The ranks that were lost before.
    func watch(
        _ event: inout ChaosReport.Event, before: [Int], until limit: ContinuousClock.Instant
    ) async {
        let begin = ContinuousClock.now
        var seconds: Double { begin.duration(to: .now).seconds }
        while ContinuousClock.now < limit {
            let health = await health()
            let isKnown =
                switch event.kind {
                case .coordinator: event.detection != nil
                // Which end of a link is given up is the job's choice.
                case .cut: !health.lost.allSatisfy(before.contains)
                case .kill, .pause: event.rank.map(health.lost.contains) ?? false
                }
            let isGone = event.rank == nil && health.status == 0
            if health.status == 503 || isKnown || isGone {
                event.detection = event.detection ?? seconds
            }
            if health.status == 200, isKnown {
                event.recovery = seconds
                return
            }
            do { try await Task.sleep(for: .milliseconds(5)) } catch { return }
        }
    }

    /// What `/health` says, and the ranks that it calls lost.
    func health() async -> (status: Int, lost: [Int]) {
        var bytes: [UInt8] = []
        var status = 0
        do {
            try await HTTPConnection.send(
                .GET, "/health", body: nil, to: address,
                on: MultiThreadedEventLoopGroup.singleton, silence: .seconds(5)
            ) { part in
                switch part {
                case .status(let code): status = code
                case .body(let part): bytes += part.readableBytesView
                }
            }
            let lost = try JSONValue.parse(bytes)["lost_ranks"]?.array ?? []
            return (status, lost.compactMap(\.integer))
        } catch { return (0, []) }
    }
}
