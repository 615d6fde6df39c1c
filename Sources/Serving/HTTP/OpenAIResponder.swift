import Encoding
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// What the HTTP library gives a handler: the connection a request came on.
struct Caller: InitializableFromSource, Sendable {
    typealias Source = ApplicationRequestContextSource
    let channel: any Channel
    /// The key that the request came with; nil on a server without keys, and on open paths.
    var key: KeyRing.Entry?
    /// What the access log will say of the request; nil where the connection is gone.
    var record: RequestRecord?
    /// Whose what the request makes is: the key's, or nobody's without keys.
    var owner: String { key?.key.owner ?? "" }
    /// Whom the request counts for.
    var address: String { ClientAddress.name(of: channel.remoteAddress) }
    init(source: Source) { channel = source.channel }
}

/// Finds the handler of a request and turns what it throws into answers.
struct OpenAIResponder: HTTPResponder {
    typealias Context = Caller
    private typealias Handler = @Sendable (OpenAIService, Request, Caller) async throws -> Response

    let service: OpenAIService
    let crossOrigin: CrossOrigin

    /// Paths that say nothing about requests or models: open to probes without a key.
    private static let openPaths: Set<String> = ["/health", "/ping", "/version"]

    private static let handlers: [String: [HTTPRequest.Method: Handler]] = [
        "/health": [.get: { service, _, _ in await service.health() }],
        "/ping": [.get: { service, _, _ in await service.health() }],
        "/version": [.get: { service, _, _ in service.version() }],
        "/load": [.get: { service, _, _ in service.load() }],
        "/experts": [.get: { service, _, _ in try await service.experts() }],
        "/traffic": [.get: { try await $0.trafficMatrix($1, $2) }],
        // Names hosts and paths: where there are keys, only an admin's opens it.
        "/doctor": [.get: { service, _, _ in try await service.doctor() }],
        "/metrics": [
            .get: { service, _, caller in await service.metricsText(for: caller.key?.key) }
        ],
        "/openapi.json": [.get: { service, _, _ in service.openAPI() }],
        "/v1/models": [.get: { service, _, _ in service.models() }],
        "/tokenizer_info": [.get: { service, _, _ in service.tokenizerInfo() }],
        "/tokenize": [.post: { try await $0.tokenize($1, $2) }],
        "/detokenize": [.post: { try await $0.detokenize($1, $2) }],
        "/v1/completions": [.post: { try await $0.complete($1, $2) }],
        "/v1/chat/completions": [.post: { try await $0.chat($1, $2) }],
        "/v1/messages": [.post: { try await $0.messages($1, $2) }],
        "/v1/messages/count_tokens": [.post: { try await $0.countTokens($1, $2) }],
    ]

    /// What ends the server, records it or names its hosts: where a key may do so, for it alone.
    /// Where keys are and none is an admin's, nobody may.
    private static let operatorHandlers: [String: [HTTPRequest.Method: Handler]] = [
        "/admin/drain": [.post: { service, request, _ in try await service.drain(request) }],
        "/admin/stop": [.post: { service, request, _ in try service.stop(request) }],
        "/admin/trace": [.post: { try await $0.trace($1, $2) }],
        "/doctor": [.get: { service, _, _ in try await service.doctor() }],
    ]

    func respond(to request: Request, context: Caller) async throws -> Response {
        let path = Self.plain(request.uri.path)
        var caller = context
        caller.record = service.connections.nextRecord(of: caller.channel)
        var response: Response
        do {
            response = try await answer(request, path, &caller)
        } catch {
            let error = APIError(error)
            response = Self.response(
                error,
                body: path.hasPrefix("/v1/messages") ? Messages.body(of: error) : error.body)
        }
        service.metrics.answered(known(path), status: response.status.code)
        for header in caller.key?.usage.headers(now: .now) ?? [] {
            if let name = HTTPField.Name(header.name) { response.headers[name] = header.value }
        }
        // No page of another origin ends a server, or reads where its hosts are.
        if Self.operatorHandlers[path] == nil {
            for header in crossOrigin.headers(for: request) { response.headers.append(header) }
        }
        return request.method == .head ? response.createHeadResponse() : response
    }

    /// A path without the slashes that clients double, or append.
    static func plain(_ path: String) -> String {
        "/" + path.split(separator: "/").joined(separator: "/")
    }

    private func answer(
        _ request: Request, _ path: String, _ caller: inout Caller
    ) async throws -> Response {
        // Asked once, because an admin may leave the file meanwhile.
        let isOperatorPath =
            path == "/doctor" ? !service.keys.isOpen : service.keys.hasAdmin
        let ofOperators = isOperatorPath ? Self.operatorHandlers[path] : nil
        let handlers = ofOperators ?? handlers(of: path)
        if request.method == .options, ofOperators == nil, let handlers {
            return crossOrigin.options(request, methods: Self.names(handlers))
        }
        let isOpen = Self.openPaths.contains(path) || PageFile.all[path] != nil
        if !service.keys.isOpen, !isOpen {
            try authorise(request, isOperator: ofOperators != nil, &caller)
        }
        guard let handlers else {
            throw APIError.notFound("there is no \(request.method) \(AccessLog.escaped(path))")
        }
        // An answer to HEAD is that to GET, without its body.
        let method = request.method == .head ? .get : request.method
        guard let handler = handlers[method] else {
            throw Self.wrongMethod(
                path, ofOperators?.keys.map(\.rawValue) ?? Self.names(handlers))
        }
        return try await handler(service, request, caller)
    }

    private func handlers(of path: String) -> [HTTPRequest.Method: Handler]? {
        if let handlers = Self.handlers[path] { return handlers }
        if let file = PageFile.all[path] {
            return [.get: { _, request, _ in file.answer(request) }]
        }
        let words = path.split(separator: "/").map(String.init)
        guard words.count > 1, words[0] == "v1" else { return nil }
        switch (words[1], words.count) {
        case ("models", 3...):
            let name = words[2...].joined(separator: "/")
            return [.get: { service, _, _ in try service.model(named: name) }]
        default: return ownedHandlers(of: words)
        }
    }

    /// The handlers of what callers with another key do not see: responses, files and batches.
    private func ownedHandlers(of words: [String]) -> [HTTPRequest.Method: Handler]? {
        switch (words[1], words.count) {
        case ("responses", 2): return [.post: responding]
        case ("responses", 3):
            let id = words[2]
            return [
                .get: owned { try $0.response(id, $1, of: $3) },
                .delete: owned { service, _, _, owner in
                    try service.deleteResponse(id, of: owner)
                },
            ]
        case ("responses", 4) where words[3] == "cancel":
            let id = words[2]
            return [
                .post: owned { service, _, _, owner in
                    try await service.cancelResponse(id, of: owner)
                }
            ]
        case ("files", 2):
            return [.get: owned { try $0.files($1, of: $3) }, .post: uploading]
        case ("files", 3):
            let id = words[2]
            return [
                .get: owned { service, _, _, owner in try service.file(id, of: owner) },
                .delete: owned { service, _, _, owner in try service.deleteFile(id, of: owner) },
            ]
        case ("files", 4) where words[3] == "content":
            let id = words[2]
            return [.get: owned { try $0.fileContent(id, $2, of: $3) }]
        case ("batches", 2):
            return [.get: owned { try $0.batchList($1, of: $3) }, .post: ordering]
        case ("batches", 3):
            let id = words[2]
            return [.get: owned { service, _, _, owner in try service.batch(id, of: owner) }]
        case ("batches", 4) where words[3] == "cancel":
            let id = words[2]
            return [
                .post: owned { service, _, _, owner in try service.cancelBatch(id, of: owner) }
            ]
        default: return nil
        }
    }

    private var responding: Handler { owned { try await $0.respond($1, $2, of: $3) } }
    private var uploading: Handler { owned { try await $0.upload($1, $2, of: $3) } }
    private var ordering: Handler { owned { try await $0.createBatch($1, $2, of: $3) } }

    /// A handler that is told whose the request is: the key's, or nobody's without keys.
    private func owned(
        _ body:
            @escaping @Sendable (OpenAIService, Request, Caller, String) async throws -> Response
    ) -> Handler {
        { service, request, caller in
            try await body(service, request, caller, caller.owner)
        }
    }

    private static func names(_ handlers: [HTTPRequest.Method: Handler]) -> [String] {
        let heads = handlers[.get] == nil ? [] : ["HEAD"]
        return (handlers.keys.map(\.rawValue) + heads + ["OPTIONS"]).sorted()
    }

    static func wrongMethod(_ path: String, _ names: [String]) -> APIError {
        APIError(
            status: 405,
            message: "\(AccessLog.escaped(path)) takes \(names.joined(separator: ", "))",
            type: "invalid_request_error", allow: names)
    }

    /// Where clients of Anthropic's API send their key.
    private static let keyHeader = HTTPField.Name("x-api-key")

    /// The key that a request sends, as `Authorization` has it.
    private static func key(of request: Request) -> String {
        let plain = keyHeader.flatMap { request.headers[$0] }.map { "Bearer \($0)" }
        return request.headers[.authorization] ?? plain ?? ""
    }

    /// Finds the key of a request, and takes the request from what the key may ask. What ends the
    /// server is counted and always allowed: an operator in need may have asked much.
    ///
    /// - Throws: 401 without a known key, 403 for a path that needs an admin's, 429 for one request
    ///   too many.
    private func authorise(
        _ request: Request, isOperator: Bool, _ caller: inout Caller
    ) throws(APIError) {
        guard let entry = service.keys.entry(for: Self.key(of: request)) else {
            throw APIError(
                status: 401, message: "the API key is missing or wrong",
                type: "authentication_error", code: "invalid_api_key")
        }
        caller.key = entry
        caller.record?.came(with: entry.key.name)
        if isOperator, entry.key.isAdmin { return entry.usage.countRequest() }
        try entry.usage.admitRequest(now: .now)
        guard !isOperator else {
            throw APIError(
                status: 403, message: "the key \(entry.key.name) is not marked admin: true",
                type: "permission_error", code: "admin_key_required")
        }
    }

    /// The endpoint as a label: unknown paths share one, so that nobody can grow the metrics.
    private func known(_ path: String) -> String {
        if Self.handlers[path] != nil || Self.operatorHandlers[path] != nil { return path }
        guard handlers(of: path) != nil else { return "other" }
        if path.hasPrefix("/v1/models/") { return "/v1/models/{model}" }
        var words = path.split(separator: "/")
        if words.count > 2 { words[2] = "{id}" }
        return "/" + words.joined(separator: "/")
    }

    static func response(_ error: APIError, body: JSONValue) -> Response {
        var response = Response.json(body, status: .init(code: error.status))
        if let seconds = error.retryAfterSeconds { response.headers[.retryAfter] = "\(seconds)" }
        if error.status == 401 { response.headers[.wwwAuthenticate] = "Bearer" }
        if !error.allow.isEmpty {
            response.headers[.allow] = error.allow.joined(separator: ", ")
        }
        if !error.acceptEncoding.isEmpty {
            response.headers[.acceptEncoding] = error.acceptEncoding.joined(separator: ", ")
        }
        return response
    }
}

extension Response {
    /// A JSON document as an answer.
    static func json(_ value: JSONValue, status: HTTPResponse.Status = .ok) -> Response {
        json(ByteBuffer(string: value.text), status: status)
    }

    /// The text of a JSON document as an answer.
    static func json(_ text: ByteBuffer, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: text))
    }
}
