import Encoding
public import Grammar
import HTTPTypes
import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore
public import ServiceLifecycle
import UnixSignals

/// The HTTP server of the OpenAI API, over whatever routes requests to engines.
///
/// A service: it runs until it is asked to shut down, then answers what is under way and takes
/// nothing new.
public struct OpenAIServer: Service {
    private let configuration: OpenAIServerConfiguration
    private let service: OpenAIService
    private let log: Logger
    private let onListening: @Sendable (Int) async -> Void

    /// Prepares the server.
    ///
    /// - Parameters:
    ///   - grammars: Shared with the ranks where they are in this process.
    ///   - onListening: Called with the port once connections are accepted.
    public init(
        _ configuration: OpenAIServerConfiguration, text: ModelText, router: any RequestRouter,
        grammars: CompiledGrammars = CompiledGrammars(), log: Logger,
        onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) {
        self.configuration = configuration
        self.log = log
        self.onListening = onListening
        service = OpenAIService(
            text: text, router: router, limits: configuration.limits, grammars: grammars, log: log)
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
