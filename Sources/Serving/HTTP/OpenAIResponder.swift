import Encoding
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// What the HTTP library gives a handler: the connection a request came on.
struct Caller: InitializableFromSource, Sendable {
    typealias Source = ApplicationRequestContextSource
    let channel: any Channel
    init(source: Source) { channel = source.channel }
}

/// Finds the handler of a request and turns what it throws into answers.
struct OpenAIResponder: HTTPResponder {
    typealias Context = Caller
    private typealias Handler = @Sendable (OpenAIService, Request, Caller) async throws -> Response

    let service: OpenAIService
    let keys: [String]

    /// Paths that say nothing about requests or models: open to probes without a key.
    private static let openPaths: Set<String> = ["/health", "/ping", "/version"]

    private static let handlers: [String: [HTTPRequest.Method: Handler]] = [
        "/health": [.get: { service, _, _ in await service.health() }],
        "/ping": [.get: { service, _, _ in await service.health() }],
        "/version": [.get: { service, _, _ in service.version() }],
        "/load": [.get: { service, _, _ in service.load() }],
        "/metrics": [.get: { service, _, _ in await service.metricsText() }],
        "/openapi.json": [.get: { service, _, _ in service.openAPI() }],
        "/v1/models": [.get: { service, _, _ in service.models() }],
        "/tokenizer_info": [.get: { service, _, _ in service.tokenizerInfo() }],
        "/tokenize": [.post: { try await $0.tokenize($1, $2) }],
        "/detokenize": [.post: { try await $0.detokenize($1, $2) }],
        "/v1/completions": [.post: { try await $0.complete($1, $2) }],
        "/v1/chat/completions": [.post: { try await $0.chat($1, $2) }],
    ]

    func respond(to request: Request, context: Caller) async throws -> Response {
        let path = request.uri.path
        do {
            let response = try await answer(request, path, context)
            service.metrics.answered(known(path), status: response.status.code)
            return response
        } catch {
            let error = APIError(error)
            service.metrics.answered(known(path), status: error.status)
            return Self.response(error)
        }
    }

    private func answer(
        _ request: Request, _ path: String, _ caller: Caller
    ) async throws -> Response {
        if !keys.isEmpty, !Self.openPaths.contains(path) { try authorise(request) }
        if path.hasPrefix("/v1/models/") {
            guard request.method == .get else { throw Self.wrongMethod(path, [.get]) }
            return try service.model(named: String(path.dropFirst("/v1/models/".count)))
        }
        guard let methods = Self.handlers[path] else {
            throw APIError.notFound("there is no \(request.method) \(path)")
        }
        guard let handler = methods[request.method] else {
            throw Self.wrongMethod(path, Array(methods.keys))
        }
        return try await handler(service, request, caller)
    }

    static func wrongMethod(_ path: String, _ methods: [HTTPRequest.Method]) -> APIError {
        let names = methods.map(\.rawValue).sorted()
        return APIError(
            status: 405, message: "\(path) takes \(names.joined(separator: ", "))",
            type: "invalid_request_error", allow: names)
    }

    /// Compares keys in a time that does not depend on how much of a key was right.
    private func authorise(_ request: Request) throws(APIError) {
        let given = Array((request.headers[.authorization] ?? "").utf8)
        var isKnown = false
        for key in keys {
            let wanted = Array("Bearer \(key)".utf8)
            var difference = UInt8(given.count == wanted.count ? 0 : 1)
            for index in wanted.indices {
                difference |= wanted[index] ^ (index < given.count ? given[index] : 0)
            }
            if difference == 0 { isKnown = true }
        }
        guard isKnown else {
            throw APIError(
                status: 401, message: "the API key is missing or wrong",
                type: "authentication_error", code: "invalid_api_key")
        }
    }

    /// The endpoint as a label: unknown paths share one, so that nobody can grow the metrics.
    private func known(_ path: String) -> String {
        if path.hasPrefix("/v1/models/") { return "/v1/models/{model}" }
        return Self.handlers[path] == nil ? "other" : path
    }

    static func response(_ error: APIError) -> Response {
        var response = Response.json(error.body, status: .init(code: error.status))
        if let seconds = error.retryAfterSeconds { response.headers[.retryAfter] = "\(seconds)" }
        if error.status == 401 { response.headers[.wwwAuthenticate] = "Bearer" }
        if !error.allow.isEmpty {
            response.headers[.allow] = error.allow.joined(separator: ", ")
        }
        return response
    }
}

extension Response {
    /// A JSON document as an answer.
    static func json(_ value: JSONValue, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: value.text)))
    }
}
