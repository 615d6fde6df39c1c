import Encoding
import HTTPTypes
import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore
public import ServiceLifecycle
import UnixSignals

/// How the HTTP API is reached.
public struct OpenAIServerConfiguration: Codable, Hashable, Sendable {
    /// The interface, numeric.
    ///
    /// Loopback unless told otherwise.
    public var address = "127.0.0.1"
    /// 0 takes any free port.
    public var port = 8000
    /// Keys of which a client must send one; none lets everybody in.
    public var keys: [String] = []
    /// What requests may ask.
    public var limits = ServiceLimits()

    /// The defaults.
    public init() {}
}

/// The HTTP server of the OpenAI API, over whatever routes requests to engines.
///
/// A service: it runs until it is told to shut down, then answers what is under way and takes
/// nothing new.
public struct OpenAIServer: Service {
    private let configuration: OpenAIServerConfiguration
    private let service: OpenAIService
    private let log: Logger
    private let onListening: @Sendable (Int) async -> Void

    /// Prepares the server.
    ///
    /// - Parameter onListening: Called with the port once connections are accepted.
    public init(
        _ configuration: OpenAIServerConfiguration, text: ModelText, router: any RequestRouter,
        log: Logger, onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) {
        self.configuration = configuration
        self.log = log
        self.onListening = onListening
        service = OpenAIService(text: text, router: router, limits: configuration.limits, log: log)
    }

    /// Runs until SIGTERM or SIGINT, then answers what is under way, for at most the drain limit.
    public func runUntilSignal() async throws {
        var configuration = ServiceGroupConfiguration(
            services: [self], gracefulShutdownSignals: [.sigterm, .sigint], logger: log)
        configuration.maximumGracefulShutdownDuration = .seconds(
            Int64(self.configuration.limits.drainSeconds))
        try await ServiceGroup(configuration: configuration).run()
    }

    public func run() async throws {
        let limits = configuration.limits
        let connections = service.connections
        let server = HTTPServerBuilder.http1(
            configuration: .init(
                additionalChannelHandlers: [DisconnectHandler(connections)],
                idleTimeout: .seconds(Int64(limits.idleSeconds)),
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: limits.headerBytes, maxHeaderListSize: limits.headerBytes,
                    maxHeaderFieldCount: 100)))
        let listening = onListening
        let application = Application(
            responder: OpenAIResponder(service: service, keys: configuration.keys),
            server: server,
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.address, port: configuration.port),
                serverName: "apus", backlog: 1024,
                availableConnectionsDelegate: MaximumAvailableConnections(limits.connections)),
            onServerRunning: { channel in await listening(channel.localAddress?.port ?? 0) },
            logger: log)
        let service = service
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    try await Task.sleep(for: .seconds(1))
                    connections.closeStalled()
                }
            }
            try await withGracefulShutdownHandler {
                try await application.run()
            } onGracefulShutdown: {
                service.beginDraining()
            }
            group.cancelAll()
        }
    }
}

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

    private static func wrongMethod(_ path: String, _ methods: [HTTPRequest.Method]) -> APIError {
        APIError(
            status: 405,
            message: "\(path) takes \(methods.map(\.rawValue).joined(separator: ", "))",
            type: "invalid_request_error")
    }

    /// Compares keys in a time that does not tell how much of one was right.
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
        if error.status == 405 {
            response.headers[.allow] = error.message.split(separator: "takes ").last.map(
                String.init)
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
