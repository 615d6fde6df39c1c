import ArgumentParser
import Cluster
import Foundation
import Logging
import Serving
import Synchronization
import Topology

/// Runs the control plane and the HTTP API of a job.
@main
struct CoordinatorProgram: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apus-coordinator",
        abstract: "Lets the ranks of a job in, watches them, and serves the HTTP API.",
        discussion: """
            apus launch starts it. By hand, in any order with the workers:

              APUS_TOKEN=... apus-coordinator --job job.yaml
            """,
        version: "apus-coordinator \(ApusVersion.current)")

    @Option(help: "The job file; the same on every rank.") var job: String
    @Option(help: "The job's folder, to write down where we listen.") var folder: String?
    @Option(
        help: "Where to listen, instead of the job's: address:port, [address]:port, or a socket.")
    var control: String?
    @Flag(
        help: "End when standard input closes: the program that started this one is gone.")
    var lifeline = false

    /// Parses, runs, and exits: 2 for a command that makes no sense, as for any other bad input.
    static func main() async {
        do {
            try await parse().run()
        } catch {
            guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
            StandardStream.error.say(fullMessage(for: error) + "\n")
            Foundation.exit(ExitStatus.badInput.code)
        }
    }

    func run() async throws {
        LoggingSystem.bootstrap { _ in TaggedLog(tag: "coordinator") }
        let log = Logger(label: "coordinator")
        do {
            let end = try await served(log)
            if end.exitStatus != .done { throw ExitCode(end.exitStatus.code) }
        } catch let error as ExitCode {
            throw error
        } catch {
            log.error("\(error)")
            throw ExitCode(ExitStatus(of: error).code)
        }
    }

    private func served(_ log: Logger) async throws -> JobEnd {
        var configuration = try JobConfiguration(contentsOf: job)
        if let control { configuration.control = try Endpoint(control) }
        let token = try ControlToken(for: configuration)
        let registration = Registration(folder, configuration, token: token, log: log)
        defer { registration.end() }
        configuration = registration.resumed(configuration)
        let outbox = Outbox()
        let router = try outbox.router(configuration, log)
        // The API opens last; what is wrong with its settings, texts or port is said first.
        let api = try configuration.serving.map {
            try APIService(
                configuration, $0, router: router, folder: registration.folder, log: log)
        }
        // Whose clients were served before are told to wait, and not refused.
        let ready = AsyncStream<Void>.makeStream()
        if registration.former != nil, configuration.coordinatorLimit > .zero {
            router.takesOver()
            ready.continuation.yield()
        }
        // From here on a signal asks for the end; what is read before may hang.
        let stop = StopFlag.onSignals()
        let weights = try SharedModel(configuration, token: token, log: log)
        let coordinator = try Coordinator(
            configuration.control, token: token,
            membership: Self.membership(configuration, takesOver: registration.former != nil),
            handlers: Self.handlers(
                router, ready.continuation, api == nil ? nil : registration.folder, log),
            log: log, weightPort: weights?.port)
        outbox.open(coordinator)
        if lifeline { Lifeline.watch { coordinator.orphan() } }
        Self.warn(of: configuration.control, log)
        try registration.announce(controlPort: coordinator.port, http: registration.former?.http)
        let watcher = Task.detached { [drain = configuration.deadlines.drainSeconds] in
            try await Self.wait(for: stop, requests: 1)
            let hurry = Task {
                try await Self.wait(for: stop, requests: 2)
                await api?.end(reason: "the job was asked to end twice")
            }
            await api?.drain(
                seconds: drain,
                reason: "the job was asked to end, and its drain limit of \(drain) s is over "
                    + "(deadlines.drainSeconds)")
            hurry.cancel()
            coordinator.stop()
        }
        try await serve(ready.stream, api, stop) {
            try registration.announce(controlPort: coordinator.port, http: $0)
        }
        let outcome: Result<JobEnd, any Error>
        do { outcome = .success(try await coordinator.end()) } catch { outcome = .failure(error) }
        watcher.cancel()
        // Streams that the end cut short still get to know why.
        await api?.drain(seconds: 0, reason: Self.reason(outcome))
        await coordinator.close()
        weights?.close()
        let end = try outcome.get()
        if end == .launcherLost, !configuration.lab.isEmpty { Self.removeLabs(log) }
        return end
    }

    /// Warns of an address that no other machine reaches.
    private static func warn(of control: Endpoint, _ log: Logger) {
        if let warning = control.loopbackWarning { log.warning("control.address: \(warning)") }
    }

    /// Nobody else is left to do it.
    private static func removeLabs(_ log: Logger) {
        for line in Lab.removeAbandoned() { log.notice("\(line)") }
    }

    /// Why no more is answered.
    private static func reason(_ outcome: Result<JobEnd, any Error>) -> String {
        switch outcome {
        case .success(let end): FlightFolder.withoutFile("\(end)")
        case .failure(let error): "\(error)"
        }
    }

    /// Opens the API when it is time to, and returns when the job is over.
    private func serve(
        _ ready: AsyncStream<Void>, _ api: APIService?, _ stop: StopFlag,
        announce: (Endpoint?) throws -> Void
    ) async throws {
        var isOpen = false
        do {
            for await _ in ready where !isOpen {
                isOpen = true
                try announce(try await api?.open(stop))
            }
        } catch {
            // Streams that this coordinator's own fault cuts short get to know why.
            await api?.end(reason: "the coordinator fails: \(error)")
            throw error
        }
    }

    /// What the control plane must know of the job.
    private static func membership(
        _ configuration: JobConfiguration, takesOver: Bool
    ) throws -> Membership.Configuration {
        var membership = Membership.Configuration(
            rankCount: configuration.ranks, identity: try JobIdentity(of: configuration),
            deadlines: configuration.deadlines.byPhase,
            silenceLimit: .seconds(configuration.deadlines.silenceSeconds))
        membership.survivesLosses = configuration.survivesLosses
        membership.takeOverLimit = configuration.coordinatorLimit
        membership.expectsTakeOver = takesOver
        membership.groups = configuration.groups
        if let serving = configuration.serving {
            membership.placements = try configuration.groups.groups.map {
                try ServingRankConfiguration.expertPlacements(
                    directory: serving.model, ranks: $0.rankCount,
                    redundantExperts: serving.redundantExperts)
            }
            membership.expertGroupCount = try ServingRankConfiguration.expertGroupCount(
                directory: serving.model)
            if serving.rebalanceSeconds > 0 {
                membership.rebalanceInterval = .seconds(serving.rebalanceSeconds)
            }
        }
        return membership
    }

    /// What becomes of the control plane's events: bytes go to the router, and so does the end.
    private static func handlers(
        _ router: LeastLoadedRouter, _ ready: AsyncStream<Void>.Continuation,
        _ folder: JobFolder?, _ log: Logger
    ) -> Coordinator.Handlers {
        var handlers = Coordinator.Handlers(
            reached: {
                guard $0 == .ready else { return }
                router.tookOver(recovering: [])
                ready.yield()
            },
            payload: { rank, bytes in
                do {
                    try router.receive(bytes, from: rank)
                } catch {
                    log.error("\(rank) sent what is no message: \(error)")
                }
            },
            lost: {
                router.goOn(without: $0, reason: FlightFolder.withoutFile($1), recovering: $2)
            },
            returned: { router.goOn(with: $0, recovering: $1) },
            leaving: { router.leaves($0, staysAfterAll: $1) },
            left: { router.goOn(withoutDrained: $0, recovering: $1) },
            recovered: { _ in router.recovered() },
            takingOver: {
                router.takesOver()
                ready.yield()
            },
            tookOver: { router.tookOver(recovering: $0) },
            balanced: { groups in
                for group in groups {
                    router.note(group.ranks, ratios: group.ratios, imbalance: group.imbalance)
                }
                router.note(
                    groups.map {
                        GroupLoads(
                            name: $0.name, ranks: $0.living, placements: $0.placements,
                            loads: $0.loads, slots: $0.slots, nodes: $0.nodes,
                            nodeNames: $0.nodeNames)
                    })
            },
            ended: { end in
                if case .lost(let rank, _, _, let reason) = end {
                    router.lost(rank, reason: FlightFolder.withoutFile(reason))
                }
                router.close(reason: FlightFolder.withoutFile("\(end)"))
                ready.finish()
            })
        guard let folder else { return handlers }
        handlers.traceAsked = { seconds, answer in
            Task { answer(await Self.trace(router, seconds, folder)) }
        }
        return handlers
    }

    /// Takes a trace into the job's folder, for who asked over the control plane.
    private static func trace(
        _ router: LeastLoadedRouter, _ seconds: Int, _ folder: JobFolder
    ) async -> Result<String, ClusterError> {
        do {
            let trace = try await router.trace(seconds: seconds).document()
            return .success(try folder.keep(trace: trace).path(percentEncoded: false))
        } catch let error as ClusterError {
            return .failure(error)
        } catch {
            return .failure(.badInput("\(error)"))
        }
    }

    /// Returns once the process was asked to end so many times.
    private static func wait(for stop: StopFlag, requests: Int) async throws {
        while stop.requests < requests { try await Task.sleep(for: .milliseconds(50)) }
    }
}

/// Carries bytes to ranks, for a router that is made before the coordinator it sends through.
final class Outbox: Sendable {
    private let coordinator = Mutex<Coordinator?>(nil)

    func open(_ coordinator: Coordinator) { self.coordinator.withLock { $0 = coordinator } }

    /// A router that sends through it.
    ///
    /// - Throws: `ClusterError.badInput` for settings of the engine that it does not know.
    func router(_ job: JobConfiguration, _ log: Logger) throws -> LeastLoadedRouter {
        LeastLoadedRouter(
            rankCount: job.ranks, groups: job.groups, roleRule: try Self.roleRule(job),
            rolesChanged: { change in
                log.notice("\(change)")
                guard let role = change.newRole else { return }
                self.coordinator.withLock { $0 }?.note(role, of: change.ranks)
            }, letLeave: { try await self.drain($0) }
        ) { self.send($1, to: $0) }
    }

    /// When groups get another role; nil for never.
    private static func roleRule(_ job: JobConfiguration) throws -> RoleRule? {
        guard let serving = job.serving, serving.rebalanceRolesSeconds > 0 else { return nil }
        let engine = try serving.engine.applied(to: EngineConfiguration(), section: "engine")
        try engine.validate()
        return RoleRule(
            interval: .seconds(serving.rebalanceRolesSeconds), stepTokens: engine.stepTokens)
    }

    private func drain(_ rank: Rank) async throws {
        guard let coordinator = coordinator.withLock({ $0 }) else {
            throw DrainRefusal(message: "the job begins: ask again when it is ready")
        }
        do {
            try await coordinator.drain(rank)
        } catch ClusterError.badInput(let reason) {
            throw DrainRefusal(message: reason)
        } catch ClusterError.ended(let end) {
            throw ServingError.unavailable(message: FlightFolder.withoutFile("\(end)"))
        } catch let error as ClusterError {
            throw ServingError.unavailable(message: error.description)
        }
    }

    func send(_ bytes: [UInt8], to rank: Rank) {
        coordinator.withLock { $0 }?.send(bytes, to: rank)
    }
}
