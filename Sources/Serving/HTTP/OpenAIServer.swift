import Encoding
public import Foundation
public import Grammar
import HTTPTypes
import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore
public import ServiceLifecycle
import Transport
import UnixSignals

/// The HTTP server of the OpenAI API, over whatever routes requests to engines.
///
/// A service: it runs until it is asked to shut down, then answers what is under way and takes
/// nothing new. Who asks calls `drain` first, decides how long that may take, and calls `end`
/// before it cancels the service, because a stream must end with a reason.
public struct OpenAIServer: Service {
    private let configuration: OpenAIServerConfiguration
    private let service: OpenAIService
    private let certificate: ServerCertificate?
    private let log: Logger
    private let onListening: @Sendable (Int) async -> Void

    /// For the last events of streams to leave, once `end` was called.
    public static let lastEventSeconds = 2.0

    /// Descriptors that connections never take: files, control connections, and those that are
    /// about to be refused.
    private static let reservedDescriptors = 64

    /// Prepares the server.
    ///
    /// - Parameters:
    ///   - grammars: Shared with the ranks where they are in this process.
    ///   - prefixes: Where the prefixes of each caller begin.
    ///   - doctorReport: Gives what was found when the job was checked, as JSON.
    ///   - onListening: Called with the port once connections are accepted.
    /// - Throws: `ServingError.configuration` for a batch folder, key file or certificate that
    ///   cannot be used.
    public init(
        _ configuration: OpenAIServerConfiguration, text: ModelText, router: any RequestRouter,
        grammars: CompiledGrammars = CompiledGrammars(), prefixes: PrefixRoots = PrefixRoots(),
        doctorReport: @escaping @Sendable () -> Data? = { nil }, log: Logger,
        onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) throws(ServingError) {
        self.configuration = configuration
        self.log = log
        self.onListening = onListening
        let limits = configuration.limits
        let path = configuration.batchFolder
        let keys = try KeyRing(configuration.keys, file: configuration.keyFile, log: log)
        let batches =
            path.isEmpty
            ? nil
            : try BatchFolder(path: path, limits: limits) { keys.entries.count > 1 }
        let tls = configuration.tls
        let certificate = tls.isOn ? try ServerCertificate(tls, log: log) : nil
        self.certificate = certificate
        service = OpenAIService(
            text: text, router: router, limits: limits, grammars: grammars, keys: keys,
            prefixes: prefixes, batches: batches, certificate: certificate,
            doctorReport: doctorReport, log: log)
    }

    /// Ends every text under way with an error that gives the reason, and refuses later ones.
    public func end(reason: String) { service.end(.unavailable(message: reason)) }

    /// Refuses new requests, and returns once no client waits for a text, or at once when the task
    /// is cancelled. Connections are accepted meanwhile: who asks hears that the server goes down,
    /// and an operator may ask again.
    public func drain() async { await service.drain() }

    /// What an operator asks over HTTP, in place of a signal: 1 to end in order, 2 to end at once.
    /// Each element is above the one before.
    public var endRequests: AsyncStream<Int> { service.operators.endRequests }

    /// Runs until SIGTERM or SIGINT, or until an operator ends it over HTTP, then answers what is
    /// under way: for at most the drain limit, or until it is asked again.
    public func runUntilSignal() async throws {
        let group = ServiceGroup(services: [self], logger: log)
        let serving = Task { try await group.run() }
        let limit = configuration.limits.drainSeconds
        let ending = Task {
            let forwarding = Task {
                for await _ in await UnixSignalsSequence(trapping: .sigterm, .sigint) {
                    service.operators.ask()
                }
            }
            defer { forwarding.cancel() }
            var requests = endRequests.makeAsyncIterator()
            guard var level = await requests.next() else { return }
            let closing = Task {
                await drain()
                await group.triggerGracefulShutdown()
            }
            defer { closing.cancel() }
            let timer = Task {
                try await Task.sleep(for: .seconds(limit))
                end(
                    reason: "the server was asked to end, and its drain limit of \(limit) s is over"
                )
                try await Task.sleep(for: .seconds(Self.lastEventSeconds))
                serving.cancel()
            }
            while level < 2 {
                guard let next = await requests.next() else { return timer.cancel() }
                level = next
            }
            timer.cancel()
            end(reason: "the server was asked to end twice, or at once")
            do { try await Task.sleep(for: .seconds(Self.lastEventSeconds)) } catch { return }
            serving.cancel()
        }
        defer { ending.cancel() }
        do { try await serving.value } catch is CancellationError {
            // Cancelled above, when its time was over.
        }
    }

    public func run() async throws {
        let descriptors = DescriptorLimit.raise()
        let free = descriptors - Self.openDescriptors - Self.reservedDescriptors
        let places = ConnectionLedger<ObjectIdentifier>.Limits(
            configuration.limits, descriptors: free)
        if places.all < configuration.limits.connections {
            log.info(
                """
                \(places.all) connections at once, not \(configuration.limits.connections): \
                the process may open \(descriptors) files (ulimit -n)
                """)
        }
        service.connections.limit(places)
        warnOfPlainKeys()
        let accessLog =
            configuration.accessLog.file.isEmpty
            ? nil : try AccessLog(configuration.accessLog, log: log)
        defer { accessLog?.close() }
        let application = application(places, accessLog)
        let service = service
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    try await Task.sleep(for: .seconds(1))
                    service.connections.closeStalled()
                    service.keys.poll()
                    certificate?.poll()
                    certificate?.remind(now: .now)
                    service.operators.poll(texts: service.permits.count)
                    if service.bodies.hasShrunk() { HeapMemory.giveBack() }
                }
            }
            if let batches = service.batches {
                group.addTask { await batches.run(service) }
            }
            try await withGracefulShutdownHandler {
                try await application.run()
            } onGracefulShutdown: {
                service.beginDraining()
            }
            group.cancelAll()
        }
    }

    private func warnOfPlainKeys() {
        guard service.keys.hasAdmin, !configuration.tls.isOn,
            !configuration.address.hasPrefix("127."),
            !["::1", "localhost"].contains(configuration.address)
        else { return }
        log.warning(
            """
            a key marked admin: true crosses the network in clear, because the API at \
            \(configuration.address) has no certificate (api.tls): whoever reads it ends the server
            """)
    }

    private func application(
        _ places: ConnectionLedger<ObjectIdentifier>.Limits, _ accessLog: AccessLog?
    ) -> Application<OpenAIResponder> {
        let (limits, connections) = (configuration.limits, service.connections)
        let certificate = certificate
        let server = HTTPServerBuilder { responder in
            APIChannel(
                responder: responder, limits: limits, table: connections, accessLog: accessLog,
                certificate: certificate)
        }
        let listening = onListening
        return Application(
            responder: OpenAIResponder(
                service: service, crossOrigin: CrossOrigin(origins: configuration.cors)),
            server: server,
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.address, port: configuration.port),
                serverName: "apus", backlog: 1024,
                // Beyond the places, connections are taken to be refused with a reason, and no
                // more of them than descriptors are kept for.
                availableConnectionsDelegate: MaximumAvailableConnections(
                    places.all + Self.reservedDescriptors / 2)),
            onServerRunning: { channel in await listening(channel.localAddress?.port ?? 0) },
            logger: log)
    }

    /// Descriptors that this process has open.
    private static var openDescriptors: Int {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
        } catch { return reservedDescriptors }
    }
}
