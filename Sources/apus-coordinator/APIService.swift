import Cluster
import Foundation
import Logging
import ServiceLifecycle
import Serving
import Synchronization

/// The HTTP API of a job, from the moment every rank is ready until the last answer.
actor APIService {
    private let job: JobConfiguration
    private let serverConfiguration: OpenAIServerConfiguration
    private let text: ModelText
    private let prefixes: PrefixRoots
    private let router: LeastLoadedRouter
    private let folder: JobFolder?
    private let log: Logger
    private var server: OpenAIServer?
    private var group: ServiceGroup?
    private var serving: Task<Void, any Error>?

    /// Reads and checks everything that the API needs, before any rank reads weights.
    ///
    /// - Parameter folder: The job's, if it has one.
    /// - Throws: What the API's settings, the model's texts or the port have against it.
    init(
        _ job: JobConfiguration, _ work: ServingWork, router: LeastLoadedRouter,
        folder: JobFolder?, log: Logger
    ) throws {
        self.job = job
        self.folder = folder
        self.router = router
        self.log = log
        serverConfiguration = try Self.configuration(job, work)
        prefixes =
            work.prefixFolder.isEmpty
            ? PrefixRoots() : try PrefixRoots(folder: work.prefixFolder)
        do {
            text = try ModelText(
                directory: work.model,
                contextTokens: job.limits.contextTokens > 0 ? job.limits.contextTokens : nil,
                chatStyle: work.chatStyle)
        } catch {
            throw ClusterError.badInput("\(error)")
        }
        if let refusal = text.chatRefusal { log.warning("chats are refused: \(refusal)") }
        if job.http.port != 0 { try job.http.checkFree() }
        if let warning = job.http.loopbackWarning { log.warning("http.address: \(warning)") }
    }

    /// What the job says of the API.
    ///
    /// - Throws: `ClusterError.badInput` with the setting that is not known or beyond its limits.
    private static func configuration(
        _ job: JobConfiguration, _ work: ServingWork
    ) throws(ClusterError) -> OpenAIServerConfiguration {
        var configuration = try work.api.applied(to: OpenAIServerConfiguration(), section: "api")
        configuration.address = job.http.address
        configuration.port = job.http.port
        do {
            try configuration.validate()
            try configuration.checkFiles()
        } catch {
            throw .badInput("api.\(error)")
        }
        return configuration
    }

    /// Opens the API and returns where it is.
    ///
    /// - Throws: What the port has against it.
    ///
    /// - Parameter stop: Raised when an operator ends the job over HTTP, as a signal raises it.
    func open(_ stop: StopFlag) async throws -> Endpoint {
        let (ports, continuation) = AsyncStream<Int>.makeStream()
        let server = try OpenAIServer(
            serverConfiguration, text: text, router: router, prefixes: prefixes,
            doctorReport: { [folder] in folder?.doctorReport() }, log: log
        ) { continuation.yield($0) }
        self.server = server
        let requests = server.endRequests
        Task { for await level in requests { stop.raise(SIGTERM, to: level) } }
        let group = ServiceGroup(services: [server], logger: log)
        self.group = group
        let serving = Task {
            defer { continuation.finish() }
            try await group.run()
        }
        self.serving = serving
        for await port in ports {
            var endpoint = Endpoint(address: job.http.address, port: port)
            if serverConfiguration.tls.isOn { endpoint.isSecure = true }
            return endpoint
        }
        try await serving.value
        throw ClusterError.badInput("the HTTP API closed before it opened")
    }

    /// Lets requests under way end, for at most `seconds`, and takes nothing new.
    ///
    /// What is left then ends with the reason, before its connection does. The port closes after
    /// the last text.
    func drain(seconds: Double, reason: String) async {
        guard let server, let group, let serving else { return }
        let closing = Task {
            await server.drain()
            await group.triggerGracefulShutdown()
        }
        defer { closing.cancel() }
        let limit = Task {
            try await Task.sleep(for: .seconds(seconds))
            await end(reason: reason)
        }
        _ = await serving.result
        limit.cancel()
    }

    /// Ends what is under way with the reason, and closes the API once its last events had time to
    /// leave.
    func end(reason: String) async {
        guard let server, let serving else { return }
        server.end(reason: reason)
        let limit = Task {
            try await Task.sleep(for: .seconds(OpenAIServer.lastEventSeconds))
            serving.cancel()
        }
        _ = await serving.result
        limit.cancel()
    }
}
