import Foundation
import Grammar
import Logging
import NIOHTTP1
import NIOPosix
import ServiceLifecycle
import Synchronization
import Testing

@testable import Benchmarks
@testable import Serving

/// How batches end that an earlier server left, on a server whose engines answer nothing.
@Suite(.serialized) final class BatchEndTests: Sendable {
    /// Ends every request with an error, or says nothing.
    private final class BarrenRouter: RequestRouter {
        private struct State {
            var asked = 0
            var withdrawn = 0
            var lengths: Set<Int> = []
            var continuations: [AsyncThrowingStream<GenerationEvent, any Error>.Continuation] = []
        }

        private let error: ServingError?
        private let state = Mutex(State())

        init(_ error: ServingError? = nil) { self.error = error }

        var asked: Int { state.withLock { $0.asked } }
        var withdrawn: Int { state.withLock { $0.withdrawn } }
        /// The most tokens of each request.
        var lengths: Set<Int> { state.withLock { $0.lengths } }

        func submit(
            _ request: GenerationRequest
        ) async throws -> AsyncThrowingStream<GenerationEvent, any Error> {
            let (stream, continuation) = AsyncThrowingStream<GenerationEvent, any Error>
                .makeStream()
            continuation.onTermination = { [weak self] _ in
                guard let self else { return }
                state.withLock { $0.withdrawn += 1 }
            }
            state.withLock {
                $0.asked += 1
                $0.lengths.insert(request.maxNewTokens)
                $0.continuations.append(continuation)
            }
            if let error { continuation.finish(throwing: error) }
            return stream
        }

        func cancel(_ id: RequestID) async {}

        func statistics() async -> [EngineStatistics] { [] }

        func trace(seconds: Int) async throws(TraceError) -> JobTrace { throw .noRank }

        var health: ServiceHealth { .serving }
    }

    private let disk: TemporaryBatches
    private var path: String { disk.path }

    init() throws { disk = try TemporaryBatches() }

    /// A batch of one request, as an earlier server left it.
    ///
    /// - Parameter age: Seconds since it was ordered.
    private func leave(
        _ state: Batch.State, hours: Int = 24, age: Int = 0, owner: String = "", tokens: Int = 3
    ) throws -> Batch {
        let line =
            #"{"custom_id":"one","method":"POST","url":"/v1/completions","#
            + #""body":{"prompt":"Once","max_tokens":\#(tokens)}}"#
        let file = StoredFile(
            id: StoredID.make(StoredID.file), name: "in.jsonl", purpose: .input,
            bytes: line.utf8.count, created: 1, owner: owner)
        try disk.write(line, "files/\(file.id)")
        try disk.write(
            String(decoding: try JSONEncoder().encode(file), as: UTF8.self),
            "files/\(file.id).json")
        var batch = Batch(
            endpoint: .completions, input: file.id, hours: hours, metadata: [:], owner: owner)
        batch.enter(state)
        let text = String(decoding: try JSONEncoder().encode(batch), as: UTF8.self)
        let created = batch.created
        try disk.write(
            text.replacing(#""created":\#(created)"#, with: #""created":\#(created - age)"#),
            "batches/\(batch.id).json")
        return batch
    }

    private func stored(_ id: String) throws -> Batch {
        let data = try Data(contentsOf: URL(filePath: "\(path)/batches/\(id).json"))
        return try JSONDecoder().decode(Batch.self, from: data)
    }

    private func errors(of batch: Batch) throws -> String {
        try String(contentsOfFile: "\(path)/files/\(batch.errors)", encoding: .utf8)
    }

    private func end(of id: String) async throws -> Batch {
        try await Wait.until("the end of \(id)") { try stored(id).state.hasEnded }
        return try stored(id)
    }

    /// Runs a server, whose port `body` gets.
    private func serve(
        _ router: BarrenRouter, adjust: (inout OpenAIServerConfiguration) -> Void = { _ in },
        _ body: (Int) async throws -> Void
    ) async throws {
        var configuration = OpenAIServerConfiguration()
        adjust(&configuration)
        configuration.port = 0
        configuration.batchFolder = path
        let (ports, continuation) = AsyncStream<Int>.makeStream()
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let server = try OpenAIServer(
            configuration, text: ModelText(directory: Golden.stories), router: router, log: log
        ) { continuation.yield($0) }
        let group = ServiceGroup(services: [server], logger: log)
        let serving = Task {
            defer { continuation.finish() }
            try await group.run()
        }
        var found = 0
        for await port in ports {
            found = port
            break
        }
        let failure: (any Error)?
        do {
            try await body(found)
            failure = nil
        } catch { failure = error }
        await group.triggerGracefulShutdown()
        try await serving.value
        if let failure { throw failure }
    }

    private static func cancel(_ id: String, _ port: Int) async throws {
        try await HTTPConnection.send(
            .POST, "/v1/batches/\(id)/cancel", body: nil,
            to: .init(host: "127.0.0.1", port: port), on: MultiThreadedEventLoopGroup.singleton
        ) { _ in }
    }

    @Test func `a text under way ends with the window`() async throws {
        let batch = try leave(.inProgress, hours: 1, age: 3585)
        let router = BarrenRouter()
        try await serve(router) { _ in
            try await Wait.until("the request") { router.asked == 1 }
            let ended = try await end(of: batch.id)
            #expect(ended.state == .expired && ended.counts.failed == 1)
            let text = try errors(of: batch)
            #expect(text.contains("batch_expired"))
            try await Wait.until("the withdrawal") { router.withdrawn == 1 && router.asked == 1 }
        }
    }

    @Test func `a request that loses its rank again and again fails`() async throws {
        let batch = try leave(.inProgress)
        let router = BarrenRouter(.rankLost(message: "rank 3 left: signal 11"))
        try await serve(router) { _ in
            let ended = try await end(of: batch.id)
            #expect(ended.state == .completed && ended.counts.failed == 1)
            #expect(router.asked == 5)
            let text = try errors(of: batch)
            #expect(text.contains("rank 3 left: signal 11") && text.contains(#""status_code":503"#))
        }
    }

    @Test(arguments: [
        (Batch.State.inProgress, Batch.State.failed),
        (Batch.State.cancelling, Batch.State.cancelled),
    ])
    func `a batch whose results cannot be read ends with what it has`(
        state: Batch.State, wanted: Batch.State
    ) async throws {
        let batch = try leave(state)
        try FileManager.default.createDirectory(
            atPath: "\(path)/files/\(batch.output)", withIntermediateDirectories: true)
        try disk.write("{\"custom_id\":\"two\"}\n", "files/\(batch.errors)")
        let router = BarrenRouter()
        try await serve(router) { _ in
            let ended = try await end(of: batch.id)
            #expect(ended.state == wanted && ended.faults.map(\.code) == ["storage"])
            #expect(!ended.hasOutput && ended.hasErrors && router.asked == 0)
            let file = "\(path)/files/\(batch.errors).json"
            #expect(FileManager.default.fileExists(atPath: file))
        }
    }

    /// More batches than are performed at once wait before the one that only has to be ended.
    @Test func `a batch that waits for its last turn keeps it when it is cancelled`() async throws {
        let others = try (0 ..< 12).map { _ in try leave(.inProgress, age: 100) }
        let last = try leave(.finalizing)
        let router = BarrenRouter()
        try await serve(router) { port in
            try await Wait.until("the first requests") { router.asked == 8 }
            try await Self.cancel(last.id, port)
            for batch in others { try await Self.cancel(batch.id, port) }
            #expect(try await end(of: last.id).state == .completed)
            for batch in others { #expect(try await end(of: batch.id).state == .cancelled) }
        }
    }

    private static let secret = "the-key-that-is-there"
    private static let owner = APIKey(number: 0, secret: secret).owner

    /// More batches than are performed at once wait for a key that is gone.
    @Test func `a batch whose key is gone keeps no turn from others`() async throws {
        let others = try (0 ..< 12).map { _ in
            try leave(.inProgress, age: 100, owner: "gone", tokens: 5)
        }
        let last = try leave(.inProgress, owner: Self.owner)
        let router = BarrenRouter(.engine(message: "nothing"))
        try await serve(router, adjust: { $0.keys = [Self.secret] }) { _ in
            let ended = try await end(of: last.id)
            #expect(ended.state == .completed && router.lengths == [3])
            for batch in others { #expect(try stored(batch.id).state == .inProgress) }
        }
    }

    @Test func `a request that is asked again later leaves its place to others meanwhile`()
        async throws
    {
        _ = try leave(.inProgress, age: 100)
        _ = try leave(.inProgress, tokens: 5)
        let router = BarrenRouter(.unavailable(message: "not now"))
        try await serve(router, adjust: { $0.limits.batchTexts = 1 }) { _ in
            try await Wait.until("the other request") { router.lengths == [3, 5] }
        }
    }

    @Test func `a line whose key has left waits, and is not answered for nothing`() async throws {
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let router = BarrenRouter()
        let service = OpenAIService(
            text: try ModelText(directory: Golden.stories), router: router,
            limits: ServiceLimits(), grammars: CompiledGrammars(),
            keys: try KeyRing([Self.secret], file: "", log: log), prefixes: PrefixRoots(),
            batches: nil, certificate: nil, log: log)
        let line = try BatchLine(
            Array(
                (#"{"custom_id":"one","method":"POST","url":"/v1/completions","#
                    + #""body":{"prompt":"Once","max_tokens":3}}"#).utf8), for: .completions)
        let error = await #expect(throws: APIError.self) {
            try await service.batchAnswer(line, to: .completions, of: "gone")
        }
        #expect(error?.status == 429 && error?.retryAfterSeconds == 1)
        #expect(router.asked == 0)
    }

    @Test func `all who ask for the health at once wait for one probe`() async throws {
        let router = BarrenRouter()
        try await serve(router) { port in
            let answers = (0 ..< 20).map { _ in
                Task {
                    try await WireTests.exchange(
                        port, "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                }
            }
            for answer in answers {
                let text = try await answer.value
                #expect(text.hasPrefix("HTTP/1.1 503"), "\(text)")
            }
            // Not all of them need have come within the first one's five seconds.
            #expect(router.asked < 5, "\(router.asked)")
        }
    }
}
