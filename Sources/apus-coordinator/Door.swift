import Cluster
import Foundation
import Logging
import ServiceLifecycle
import Serving
import Synchronization

/// The HTTP front door of a job, from the moment every rank is ready until the last answer.
actor Door {
    private let job: JobConfiguration
    private let router: LeastLoadedRouter
    private let log: Logger
    private var group: ServiceGroup?
    private var serving: Task<Void, any Error>?

    init(_ job: JobConfiguration, router: LeastLoadedRouter, log: Logger) {
        self.job = job
        self.router = router
        self.log = log
    }

    /// What the job says of the API.
    ///
    /// - Throws: `ClusterError.badInput` with the setting that is not known or beyond its limits.
    static func configuration(
        _ job: JobConfiguration
    ) throws(ClusterError) -> OpenAIServerConfiguration {
        var configuration = try job.api.applied(to: OpenAIServerConfiguration(), section: "api")
        configuration.address = job.http.address
        configuration.port = job.http.port
        do {
            try configuration.validate()
        } catch {
            throw .badInput("api.\(error)")
        }
        return configuration
    }

    /// Opens the door and returns where it is.
    ///
    /// - Throws: What the API's settings, the model's texts or the port have against it.
    func open() async throws -> JobConfiguration.Endpoint {
        let configuration = try Self.configuration(job)
        let text = try ModelText(
            directory: job.model,
            contextTokens: job.limits.contextTokens > 0 ? job.limits.contextTokens : nil)
        let (ports, continuation) = AsyncStream<Int>.makeStream()
        let door = OpenAIServer(configuration, text: text, router: router, log: log) { port in
            continuation.yield(port)
        }
        let group = ServiceGroup(services: [door], logger: log)
        self.group = group
        let serving = Task {
            defer { continuation.finish() }
            try await group.run()
        }
        self.serving = serving
        for await port in ports {
            return JobConfiguration.Endpoint(address: job.http.address, port: port)
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

    /// Closes the door at once.
    func close() async {
        serving?.cancel()
        _ = await serving?.result
    }
}
