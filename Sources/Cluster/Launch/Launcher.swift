public import Foundation
import Glibc
import Topology

/// Runs a job on this machine: one coordinator, one worker per rank, and nothing left afterwards.
///
/// Invariants:
/// 1. Children end when the launcher does, however it ends: each holds a pipe that closes then.
/// 2. `run` returns only when every child is gone, and the lab that was built for them.
public final class Launcher {
    /// What is shown while the job runs.
    public struct Display: Sendable {
        /// The job changed, or time passed.
        public var snapshot: @Sendable (JobSnapshot) -> Void
        /// The job serves at this address.
        public var ready: @Sendable (JobConfiguration.Endpoint) -> Void

        /// A display of both.
        public init(
            snapshot: @escaping @Sendable (JobSnapshot) -> Void,
            ready: @escaping @Sendable (JobConfiguration.Endpoint) -> Void
        ) {
            self.snapshot = snapshot
            self.ready = ready
        }
    }

    /// Where workers run, if not simply here: in the namespaces of a lab.
    public struct Placement: Sendable {
        /// By rank, the words that go before a worker's own.
        public var words: [[String]]
        /// By rank, variables of its environment.
        public var environment: [[String: String]]

        /// A placement of both.
        public init(words: [[String]], environment: [[String: String]]) {
            self.words = words
            self.environment = environment
        }
    }

    /// The job's folder.
    public let folder: JobFolder
    private let job: JobConfiguration
    private let placement: Placement?
    private let token = ControlToken.random()
    private let programs: URL
    private var coordinator: Child?
    private var workers: [Child] = []
    private var site: LaunchSite?
    private var link: ControlLink?

    /// Prepares a job.
    ///
    /// - Parameters:
    ///   - programs: The folder of `apus-coordinator` and `apus-worker`; nil is the folder of the
    ///     running program.
    ///   - placement: Where workers run; nil is here.
    public init(
        _ job: JobConfiguration, programs: URL? = nil, placement: Placement? = nil
    ) throws(ClusterError) {
        self.job = job
        self.placement = placement
        if let placement, placement.words.count != job.ranks {
            throw .badInput(
                "the job has \(job.ranks) ranks: the lab has places for \(placement.words.count)")
        }
        self.programs = programs ?? JobIdentity.ownFolder
        for name in ["apus-coordinator", "apus-worker"] {
            let path = self.programs.appending(path: name).path(percentEncoded: false)
            guard FileManager.default.isExecutableFile(atPath: path) else {
                throw .badInput("\(path) is not an executable file")
            }
        }
        // Read before anything starts, so that a wrong folder is one error and not one per rank.
        _ = try job.modelDigest()
        _ = try LaunchSite.map(of: job)
        folder = try JobFolder.make(for: job)
    }

    /// Runs the job until it ends by itself or `stop` is raised.
    ///
    /// - Throws: `ClusterError` with the rank that was lost and why.
    public func run(stop: StopFlag, display: Display) throws(ClusterError) {
        var failure: ClusterError?
        do throws(ClusterError) {
            try perform(stop: stop, display: display)
        } catch {
            failure = error
        }
        endAll()
        if let controlSocket { try? FileManager.default.removeItem(atPath: controlSocket) }
        do throws(ClusterError) { try site?.leave() } catch { failure = failure ?? error }
        if let failure { throw failure }
    }

    private func perform(stop: StopFlag, display: Display) throws(ClusterError) {
        do {
            try folder.write(
                JobFolder.State(launcher: .current, began: Date(), token: token.text))
        } catch {
            throw .badInput(
                "\(folder.url.path(percentEncoded: false)): \(error.localizedDescription)")
        }
        site = try LaunchSite(job)
        try startCoordinator(stop: stop)
        guard !stop.isRaised else { return }
        try startWorkers()
        try watch(stop: stop, display: display)
        if stop.isRaised { drain() }
    }

    // MARK: Starting

    /// Starts a program; a rank's starts where the rank belongs.
    private func child(
        _ program: String, _ arguments: [String], log: String, rank: Int? = nil
    ) throws(ClusterError) -> Child {
        let output = try folder.openLog(log)
        defer { try? output.close() }
        let place = placement ?? site?.placement
        let before = rank.flatMap { place?.words[$0] } ?? []
        let environment = rank.flatMap { place?.environment[$0] } ?? [:]
        return try Child(
            words: before + [programs.appending(path: program).path(percentEncoded: false)]
                + arguments,
            environment: environment.merging(["APUS_TOKEN": token.text]) { $1 }, output: output,
            hasLifeline: true)
    }

    /// A socket which ranks in other network namespaces reach too: in the job's folder, or beside
    /// the labs' records where that path is too long for a socket.
    private var controlSocket: String? {
        guard !job.lab.isEmpty else { return nil }
        let path = folder.url.appending(path: "control").path(percentEncoded: false)
        return ControlChannel.fits(path) ? path : "/run/apus/control-\(getpid())"
    }

    private func startCoordinator(stop: StopFlag) throws(ClusterError) {
        let child = try child(
            "apus-coordinator",
            [
                "--job", folder.configuration.path(percentEncoded: false), "--folder",
                folder.url.path(percentEncoded: false), "--lifeline",
            ] + (controlSocket.map { ["--control", $0] } ?? []),
            log: "coordinator")
        coordinator = child
        let limit = ContinuousClock.now + .seconds(job.deadlines.joinSeconds)
        var endpoints = try? folder.endpoints()
        while endpoints == nil, !stop.isRaised {
            if let status = child.status { throw exited("coordinator", status) }
            guard .now < limit else {
                throw .deadline("the coordinator did not listen within the time for join")
            }
            stop.wait(0.02)
            endpoints = try? folder.endpoints()
        }
        guard let endpoints, !stop.isRaised else { return }
        link = try ControlLink.join(
            ControlLink.Configuration(
                address: endpoints.control.address, port: endpoints.control.port, token: token,
                hello: Hello(rank: nil, identity: nil, pid: getpid(), node: Self.nodeName),
                joinLimit: .seconds(job.deadlines.joinSeconds),
                silenceLimit: .seconds(max(10, job.deadlines.silenceSeconds * 2))))
    }

    private func startWorkers() throws(ClusterError) {
        guard let endpoints = try? folder.endpoints() else { return }
        for rank in 0 ..< job.ranks {
            workers.append(
                try child(
                    "apus-worker",
                    [
                        "--job", folder.configuration.path(percentEncoded: false), "--rank",
                        "\(rank)",
                        "--coordinator",
                        endpoints.control.text, "--lifeline",
                    ], log: "rank-\(rank)", rank: rank))
        }
    }

    // MARK: Watching

    private func watch(stop: StopFlag, display: Display) throws(ClusterError) {
        guard let link else { return }
        var isReady = false
        while !stop.isRaised {
            stop.wait(Self.lookInterval)
            if let snapshot = link.snapshot {
                display.snapshot(snapshot)
                if !isReady, snapshot.phase == .ready, let http = try? folder.endpoints().http {
                    isReady = true
                    display.ready(http)
                }
            }
            if let end = link.end { return try finish(end) }
            try checkChildren(link)
        }
    }

    /// Twice as often as the coordinator tells.
    private static let lookInterval = 0.125

    private func finish(_ end: JobEnd) throws(ClusterError) {
        guard case .coordinatorLost = end, let coordinator else {
            if end == .stopped { return }
            throw .ended(end)
        }
        coordinator.end(within: Self.patience)
        throw exited("coordinator", coordinator.status ?? 0)
    }

    /// A child that is gone before the job is over: the coordinator may know why, and is heard
    /// first.
    private func checkChildren(_ link: ControlLink) throws(ClusterError) {
        if let status = coordinator?.status { throw exited("coordinator", status) }
        guard let rank = workers.firstIndex(where: { $0.status != nil }),
            let status = workers[rank].status
        else { return }
        let limit = ContinuousClock.now + Self.patience
        while link.end == nil, .now < limit { usleep(20_000) }
        if let end = link.end {
            // The next look ends the watch.
            if end == .stopped, status == 0 { return }
            if end.exitStatus == .lost { throw .ended(end) }
        }
        let phase = link.snapshot?.members[rank].phase ?? .join
        if status > 128 {
            // The coordinator cannot miss a rank that was not in yet.
            throw .ended(
                .lost(
                    rank: Rank(rawValue: rank), phase: phase, epoch: link.welcome.epoch,
                    reason: fate("rank-\(rank)", status)))
        }
        throw exited("rank \(rank)", status, phase: phase, log: "rank-\(rank)")
    }

    private func exited(
        _ who: String, _ status: Int32, phase: Phase? = nil, log: String? = nil
    ) -> ClusterError {
        let line = "\(who) \(fate(log ?? who, status, phase))"
        switch ExitStatus(code: status) {
        case .badInput: return .badInput(line)
        case .lost: return .deadline(line)
        default: return .command(line)
        }
    }

    /// How a child ended, with the last line of its log and where that is.
    private func fate(_ log: String, _ status: Int32, _ phase: Phase? = nil) -> String {
        let words = folder.lastLine(log).map { "; its last words: \($0)" } ?? ""
        let during = phase.map { " in phase \($0)" } ?? ""
        let how = status > 128 ? "was killed by signal \(status - 128)" : "exited with \(status)"
        return "\(how)\(during)\(words) (\(folder.log(log).path(percentEncoded: false)))"
    }

    // MARK: Ending

    /// Lets requests under way finish: the coordinator knows them.
    private func drain() {
        coordinator?.signal(SIGTERM)
        let limit = ContinuousClock.now + .seconds(job.deadlines.drainSeconds) + Self.patience
        while .now < limit, coordinator?.status == nil { usleep(20_000) }
        // Workers leave by themselves when they hear of the end.
        let workerLimit = ContinuousClock.now + Self.patience
        while .now < workerLimit, workers.contains(where: { $0.status == nil }) { usleep(20_000) }
    }

    private func endAll() {
        link?.close()
        for child in workers { child.signal(SIGTERM) }
        coordinator?.signal(SIGTERM)
        for child in workers { child.end(within: Self.patience) }
        coordinator?.end(within: Self.patience)
    }

    /// Long enough for a process to write its last line; short for people who wait.
    private static let patience = Duration.seconds(3)

    /// This machine, for messages.
    public static var nodeName: String {
        ProcessInfo.processInfo.environment["APUS_NODE_NAME"] ?? ProcessInfo.processInfo.hostName
    }
}
