import Cluster
import Foundation
import Logging
import ServiceLifecycle
import Serving
import Synchronization

/// The HTTP API of a job, from the moment every rank is ready until the last answer.
actor APIService {
    private let job: JobConfiguration
    private let work: ServingWork
    private let router: LeastLoadedRouter
    private let log: Logger
    private var group: ServiceGroup?
    private var serving: Task<Void, any Error>?

    init(_ job: JobConfiguration, _ work: ServingWork, router: LeastLoadedRouter, log: Logger) {
        self.job = job
        self.work = work
        self.router = router
        self.log = log
    }

    /// What the job says of the API.
    ///
    /// - Throws: `ClusterError.badInput` with the setting that is not known or beyond its limits.
    static func configuration(
        _ job: JobConfiguration, _ work: ServingWork
    ) throws(ClusterError) -> OpenAIServerConfiguration {
        var configuration = try work.api.applied(to: OpenAIServerConfiguration(), section: "api")
        configuration.address = job.http.address
        configuration.port = job.http.port
        do {
            try configuration.validate()
        } catch {
            throw .badInput("api.\(error)")
        }
        return configuration
    }

    /// Opens the API and returns where it is.
    ///
    /// - Throws: What the API's settings, the model's texts or the port have against it.
    func open() async throws -> Endpoint {
        let configuration = try Self.configuration(job, work)
        let text = try ModelText(
            directory: work.model,
            contextTokens: job.limits.contextTokens > 0 ? job.limits.contextTokens : nil)
        let (ports, continuation) = AsyncStream<Int>.makeStream()
        let server = OpenAIServer(configuration, text: text, router: router, log: log) { port in
            continuation.yield(port)
        }
        let group = ServiceGroup(services: [server], logger: log)
        self.group = group
        let serving = Task {
            defer { continuation.finish() }
            try await group.run()
        }
        self.serving = serving
        for await port in ports {
            return Endpoint(address: job.http.address, port: port)
        }
        try await serving.value
        throw ClusterError.badInput("the HTTP API closed before it opened")
    }

    /// Lets requests under way end, for at most `seconds`, and takes nothing new.
    func drain(seconds: Double) async {
        guard let group, let serving else { return }
        await group.triggerGracefulShutdown()
        let limit = Task {
            try await Task.sleep(for: .seconds(seconds))
            serving.cancel()
        }
        _ = await serving.result
        limit.cancel()
    }

    /// Closes the API at once.
    func close() async {
        serving?.cancel()
        _ = await serving?.result
    }
}
