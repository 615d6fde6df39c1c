import Encoding
import Foundation
import Grammar
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Language
import Logging
import NIOCore
import Synchronization
import Topology

/// Handles the requests of the OpenAI API: what every endpoint needs, in one place.
final class OpenAIService: Sendable {
    let text: ModelText
    let router: any RequestRouter
    let limits: ServiceLimits
    let grammars: CompiledGrammars
    let log: Logger
    let metrics = ServiceMetrics()
    let connections = ConnectionTable()
    let permits: PermitPool
    let shapes: RequestShapes
    /// Special tokens that the parser of answers reads.
    let structureTokens: Set<Int>
    private let created = Int(Date().timeIntervalSince1970)
    private let ids: Mutex<UInt64>
    private let isDraining = Mutex(false)

    /// A step within this long says that the engines are alive.
    private static let freshStep = Duration.seconds(10)
    /// How long a probe may take before the engines count as stuck.
    private static let probeLimit = Duration.seconds(5)

    init(
        text: ModelText, router: any RequestRouter, limits: ServiceLimits,
        grammars: CompiledGrammars, log: Logger
    ) {
        self.text = text
        self.router = router
        self.limits = limits
        self.grammars = grammars
        self.log = log
        permits = PermitPool(limit: limits.generations)
        shapes = RequestShapes(limits: limits, vocabularySize: text.vocabularySize)
        structureTokens = AnswerParser.structureTokens(of: text.tokenizer)
        // Ids of two coordinators in a row differ, so that a late event of the first finds nothing.
        ids = Mutex(UInt64(Date().timeIntervalSince1970) << 24)
    }

    func beginDraining() { isDraining.withLock { $0 = true } }

    func nextID() -> RequestID {
        ids.withLock { id in
            id += 1
            return RequestID(rawValue: id)
        }
    }

    func writer(_ kind: String) -> AnswerWriter {
        AnswerWriter(
            id: "\(kind)-\(String(nextID().rawValue, radix: 16))", model: text.name,
            created: Int(Date().timeIntervalSince1970), tokenizer: text.tokenizer)
    }

    /// Reads a request's JSON body and checks its shape.
    func body(_ request: Request, _ caller: Caller, _ shape: Shape) async throws -> JSONValue {
        connections.expect(caller.channel, within: limits.idleSeconds)
        defer { connections.moved(caller.channel) }
        if let length = request.headers[.contentLength].flatMap({ Int($0) }),
            length > limits.bodyBytes
        {
            throw tooLarge(length)
        }
        var bytes: [UInt8] = []
        for try await part in request.body {
            bytes += part.readableBytesView
            guard bytes.count <= limits.bodyBytes else { throw tooLarge(bytes.count) }
        }
        let type = request.headers[.contentType] ?? "application/json"
        guard type.lowercased().hasPrefix("application/json") else {
            throw APIError(
                status: 415, message: "the body must be application/json, not \(type)",
                type: "invalid_request_error")
        }
        let value: JSONValue
        do { value = try JSONValue.parse(bytes) } catch {
            throw APIError.invalid("the body is \(error)")
        }
        guard value.object != nil else {
            throw APIError.invalid("the body must be a JSON object, not \(value.kind)")
        }
        try shape.check(value, at: "")
        if let model = value["model"]?.string, !model.isEmpty, model != text.name {
            throw APIError.notFound(
                "there is no model \(JSONValue.quoted(model)): this server has \(text.name)",
                code: "model_not_found")
        }
        return value
    }

    private func tooLarge(_ count: Int) -> APIError {
        APIError(
            status: 413, message: "the body has \(count) bytes: the limit is \(limits.bodyBytes)",
            type: "invalid_request_error")
    }

    /// Submits requests to the engines, after the checks that do not depend on an endpoint.
    func submit(_ requests: [GenerationRequest]) async throws -> RequestStreams {
        if isDraining.withLock({ $0 }) { throw ServingError.draining }
        return try await RequestStreams(
            requests, router: router, permit: permits.acquire(requests.count))
    }

    /// A salt that keeps the prefixes of different callers' secrets apart.
    ///
    /// A hash of the salt's text: it only has to differ, nothing can be read back from it.
    static func salt(_ text: String?) -> UInt64 {
        text.map { FNV1a.hash($0.utf8) } ?? 0
    }
}

extension OpenAIService {
    /// 200 if a step advanced lately; else a probe of one token must, in time.
    func health() async -> Response {
        if isDraining.withLock({ $0 }) { return Self.status("draining", .serviceUnavailable) }
        if let age = metrics.sinceStep, age < Self.freshStep { return Self.status("ready", .ok) }
        var request = GenerationRequest(
            id: nextID(), prompt: [text.tokenizer.beginningOfSequenceID ?? 0], maxNewTokens: 1)
        request.sampling = .greedy
        let id = request.id
        let router = router
        let probe = request
        let isAlive = await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                do {
                    for try await event in try await router.submit(probe) {
                        if case .finished = event { return true }
                    }
                } catch { return false }
                return false
            }
            group.addTask {
                do { try await Task.sleep(for: Self.probeLimit) } catch { return false }
                return false
            }
            let first = await group.next() ?? false
            group.cancelAll()
            return first
        }
        if isAlive {
            metrics.stepSeen()
        } else {
            await router.cancel(id)
        }
        return isAlive
            ? Self.status("ready", .ok) : Self.status("no step advances", .serviceUnavailable)
    }

    private static func status(_ word: String, _ code: HTTPResponse.Status) -> Response {
        .json(["status": .string(word)], status: code)
    }

    func version() -> Response { .json(["version": .string(ApusVersion.current)]) }

    func load() -> Response { .json(["server_load": .number(permits.count)]) }

    func metricsText() async -> Response {
        let text = metrics.text(
            await router.statistics(), connections: connections.count, generations: permits.count)
        return Response(
            status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    func openAPI() -> Response { .json(OpenAPIDocument(shapes: shapes).value) }

    func models() -> Response { .json(["object": "list", "data": .array([card])]) }

    func model(named name: String) throws(APIError) -> Response {
        guard name.removingPercentEncoding == text.name else {
            throw .notFound(
                "there is no model \(JSONValue.quoted(name)): this server has \(text.name)",
                code: "model_not_found")
        }
        return .json(card)
    }

    private var card: JSONValue {
        [
            "id": .string(text.name), "object": "model", "created": .number(created),
            "owned_by": "apus", "root": .string(text.name), "parent": .null,
            "max_model_len": .number(text.contextTokens),
        ]
    }

    func tokenizerInfo() -> Response { .json(text.tokenizerInfo) }

    func tokenize(_ request: Request, _ caller: Caller) async throws -> Response {
        let body = try await body(request, caller, shapes.tokenize)
        let tokens: [Int]
        if let prompt = body["prompt"]?.string {
            tokens = text.tokenizer.encode(
                prompt, addSpecialTokens: body["add_special_tokens"]?.bool ?? true)
        } else if let messages = body["messages"]?.array {
            tokens = text.render(messages.map { ChatMessage($0) }, tools: [], thinks: nil)
                .ids(text.tokenizer)
        } else {
            throw APIError.invalid("prompt or messages is missing", parameter: "prompt")
        }
        var members: [(key: String, value: JSONValue)] = [
            ("count", .number(tokens.count)), ("max_model_len", .number(text.contextTokens)),
            ("tokens", .array(tokens.map { .number($0) })),
        ]
        if body["return_token_strs"]?.bool == true {
            let names = tokens.map { JSONValue.string(text.tokenizer.token($0) ?? "") }
            members.append(("token_strs", .array(names)))
        }
        return .json(.object(members))
    }

    func detokenize(_ request: Request, _ caller: Caller) async throws -> Response {
        let body = try await body(request, caller, shapes.detokenize)
        let tokens = (body["tokens"]?.array ?? []).compactMap(\.integer)
        return .json(["prompt": .string(text.tokenizer.decode(tokens, skipSpecialTokens: false))])
    }
}
