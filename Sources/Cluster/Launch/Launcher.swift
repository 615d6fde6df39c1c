public import Foundation
import Glibc
import Topology

/// Runs a job: one coordinator here, one worker per rank at the job's site, and nothing left
/// afterwards.
///
/// `JobRun` decides; this class starts and ends processes, reads and shows.
///
/// Invariants:
/// 1. Children end when the launcher does, however it ends: each holds a pipe that closes then.
/// 2. `run` returns only when every child is gone, and what the site made for them.
public final class Launcher {
    /// What is shown while the job runs.
    public struct Display: Sendable {
        /// The job changed, or time passed.
        public var snapshot: @Sendable (JobSnapshot) -> Void
        /// The job serves at this address.
        public var ready: @Sendable (Endpoint) -> Void
        /// People should know: a check that was made before ranks were started warns, or a rank
        /// ended and the job goes on.
        public var told: @Sendable (String) -> Void

        /// A display of all.
        public init(
            snapshot: @escaping @Sendable (JobSnapshot) -> Void,
            ready: @escaping @Sendable (Endpoint) -> Void,
            told: @escaping @Sendable (String) -> Void
        ) {
            self.snapshot = snapshot
            self.ready = ready
            self.told = told
        }
    }

    /// The job's folder.
    public let folder: JobFolder
    private let job: JobConfiguration
    private let token = ControlToken.random()
    private let programs: URL
    private var site: any Site
    private var children: [JobProcess: any RunningProcess] = [:]
    private var link: ControlLink?
    private let killsBefore = OutOfMemoryKills.now()

    /// Prepares a job.
    ///
    /// - Parameter programs: The folder of `apus-coordinator` and `apus-worker`; nil is the folder
    ///   of the running program.
    public init(_ job: JobConfiguration, programs: URL? = nil) throws(ClusterError) {
        self.job = job
        self.programs = programs ?? JobIdentity.ownFolder
        for name in ["apus-coordinator", "apus-worker"] {
            let path = self.programs.appending(path: name).path(percentEncoded: false)
            guard FileManager.default.isExecutableFile(atPath: path) else {
                throw .badInput("\(path) is not an executable file")
            }
        }
        // Read before anything starts, so that a wrong folder is one error and not one per rank.
        _ = try job.fileFingerprints()
        site = try Self.site(of: job, programs: self.programs, token: token)
        folder = try JobFolder.make(for: job)
        JobFolder.prune()
    }

    private static func site(
        of job: JobConfiguration, programs: URL, token: ControlToken
    ) throws(ClusterError) -> any Site {
        if !job.hosts.isEmpty { return SshSite(of: job, programs: programs, token: token) }
        return job.lab.isEmpty ? LocalSite() : try LabSite(of: job)
    }

    /// Runs the job until it ends by itself or `stop` is raised.
    ///
    /// - Throws: `ClusterError` with the rank that was lost and why.
    public func run(stop: StopFlag, display: Display) throws(ClusterError) {
        var failure: ClusterError?
        do throws(ClusterError) {
            try writeState()
            try site.enter(stop: stop, told: display.told)
            if !stop.isRaised { try check(stop: stop, display: display) }
            try conclude(perform(stop: stop, display: display))
        } catch {
            failure = error
        }
        link?.close()
        if let socket = site.control(of: folder), socket.isPath {
            try? FileManager.default.removeItem(atPath: socket.address)
        }
        do throws(ClusterError) { try site.leave() } catch { failure = failure ?? error }
        if let failure { throw failure }
    }

    /// The cheap half of `apus doctor`: what the hosts say of themselves, and no link.
    ///
    /// - Throws: `ClusterError.badInput` with the first check that fails.
    private func check(stop: StopFlag, display: Display) throws(ClusterError) {
        let hosts = site.surveyed(stop: stop)
        let survey = HostSurvey(
            of: job, part: hosts.isEmpty ? .all : .launcher, isWhole: false, instruments: nil)
        let launcher = CheckedHost(
            name: ProcessIdentity.node, ranks: 0 ..< (hosts.isEmpty ? job.ranks : 0),
            survey: survey)
        let facts = JobFacts(
            job: job, launcher: launcher, hosts: hosts.isEmpty ? [launcher] : hosts)
        do {
            try folder.keep(doctorReport: DoctorReport(facts).json())
        } catch {
            display.told("the checks' report is not kept: \(error.localizedDescription)")
        }
        let findings = facts.launchFindings
        if let fault = findings.first(where: { $0.severity == .fail }) {
            throw .badInput(fault.text)
        }
        for finding in findings { display.told(finding.line) }
    }

    private func writeState() throws(ClusterError) {
        do {
            try folder.write(JobFolder.State(of: job, token: token))
        } catch {
            throw .badInput(
                "\(folder.url.path(percentEncoded: false)): \(error.localizedDescription)")
        }
    }

    // MARK: The loop

    private func perform(stop: StopFlag, display: Display) -> JobRun.Outcome? {
        let ranks = (0 ..< job.ranks).map { Rank(rawValue: $0) }
        var configuration = JobRun.Configuration(
            ranks: ranks.filter { site.place(worker($0, job.control), as: $0) != nil },
            joinLimit: .seconds(job.deadlines.joinSeconds),
            drainLimit: .seconds(job.deadlines.drainSeconds))
        configuration.survivesLosses = job.survivesLosses
        configuration.restart = job.serving?.restart ?? .never
        configuration.coordinatorLimit = job.coordinatorLimit
        var run = JobRun(configuration)
        let begin = ContinuousClock.now
        var requests = 0
        var events: [JobRun.Event] = [.begun]
        while !run.isOver {
            while !events.isEmpty {
                let actions = run.apply(events.removeFirst(), now: .now - begin)
                // What an action brought about comes before what happened meanwhile.
                events.insert(contentsOf: perform(actions, display), at: 0)
            }
            guard !run.isOver else { break }
            stop.wait(run.isRunning ? Self.pollInterval : Self.shortInterval, after: requests)
            events = poll(run)
            while requests < stop.requests {
                requests += 1
                events.append(.stopRequested)
            }
        }
        return run.outcome
    }

    /// Twice as often as the coordinator tells.
    private static let pollInterval = 0.125
    /// While a process starts or ends, which people wait for.
    private static let shortInterval = 0.02

    /// What happened since the last poll.
    private func poll(_ run: JobRun) -> [JobRun.Event] {
        var events: [JobRun.Event] = []
        if let link {
            if let snapshot = link.snapshot {
                let http = snapshot.phase == .ready ? try? folder.endpoints().http : nil
                events.append(.told(snapshot, http: http))
            }
            if let end = link.end { events.append(.ended(end)) }
        }
        for (process, child) in children {
            guard let end = child.end else { continue }
            children[process] = nil
            events.append(.exited(process, end))
        }
        if run.awaitsCoordinator, link == nil, let endpoints = try? folder.endpoints(),
            endpoints.process == (children[.coordinator] as? Child)?.pid,
            let event = join(endpoints.control, again: run.isReplacing)
        {
            events.append(event)
        }
        return events + [.tick]
    }

    private func perform(_ actions: [JobRun.Action], _ display: Display) -> [JobRun.Event] {
        var events: [JobRun.Event] = []
        for action in actions {
            switch action {
            case .start(let process):
                do throws(ClusterError) {
                    children[process] = try start(process)
                    events.append(.started(process))
                } catch {
                    // What was to follow is not started.
                    return events + [.failed(error)]
                }
            case .show(let snapshot): display.snapshot(snapshot)
            case .report(let process, let end, let plan):
                display.told("\(process) \(fate(process, end)); \(plan)")
                if process == .coordinator {
                    link?.close()
                    link = nil
                }
            case .restart(let process):
                do throws(ClusterError) {
                    children[process] = try start(process)
                    events.append(.started(process))
                } catch {
                    display.told("\(process) could not be started again: \(error)")
                    events.append(.notRestarted(process))
                }
            case .announce(let endpoint): display.ready(endpoint)
            case .terminate(let process): children[process]?.signal(SIGTERM)
            case .kill(let process): children[process]?.signal(SIGKILL)
            }
        }
        return events
    }

    /// - Parameter again: Whether the coordinator takes the place of another one, which may end as
    ///   that did: then its exit is what counts.
    /// - Returns: What came of it; nil to try again.
    private func join(_ control: Endpoint, again: Bool) -> JobRun.Event? {
        do throws(ClusterError) {
            link = try ControlLink.join(
                ControlLink.Configuration(
                    control, token: token,
                    hello: Hello(
                        rank: nil, identity: nil, pid: getpid(), node: ProcessIdentity.node),
                    joinLimit: again ? .seconds(1) : .seconds(job.deadlines.joinSeconds),
                    silenceLimit: ControlProtocol.coordinatorSilence(
                        ranks: .seconds(job.deadlines.silenceSeconds))))
            return .listening
        } catch {
            return again ? nil : .failed(error)
        }
    }

    // MARK: Processes

    private func start(_ process: JobProcess) throws(ClusterError) -> any RunningProcess {
        let control =
            (try? folder.endpoints().control) ?? site.control(of: folder) ?? job.control
        guard case .rank(let rank) = process else {
            let output = try folder.openLog(process.logName)
            defer { try? output.close() }
            return try Child(coordinator(), output: .file(output), hasLifeline: true)
        }
        return try site.start(
            worker(rank, control), as: rank, control: control,
            output: folder.openLog(process.logName))
    }

    private func coordinator() -> Command {
        let socket = site.control(of: folder).map { ["--control", $0.text] } ?? []
        return Command(
            words: [
                program("apus-coordinator"), "--job", file, "--folder",
                folder.url.path(percentEncoded: false), "--lifeline",
            ] + socket, environment: ["APUS_TOKEN": token.text])
    }

    private func worker(_ rank: Rank, _ control: Endpoint) -> Command {
        Command(
            words: [
                program("apus-worker"), "--job", file, "--rank", "\(rank.rawValue)",
                "--coordinator", control.text, "--lifeline",
            ], environment: ["APUS_TOKEN": token.text])
    }

    private var file: String { folder.configuration.path(percentEncoded: false) }

    private func program(_ name: String) -> String {
        programs.appending(path: name).path(percentEncoded: false)
    }

    // MARK: The end in words

    private func conclude(_ outcome: JobRun.Outcome?) throws(ClusterError) {
        switch outcome {
        case nil, .done: return
        case .ended(let end): throw .ended(end)
        case .killed(let rank, let signal, let phase):
            throw .ended(
                .lost(
                    rank: rank, phase: phase, epoch: link?.welcome.epoch ?? 0,
                    reason: fate(.rank(rank), .killed(signal: signal))))
        case .failed(let error): throw error
        case .exited(.rank(let rank), .killed(let signal), let phase):
            // The coordinator cannot miss a rank that was not in yet.
            throw .ended(
                .lost(
                    rank: rank, phase: phase ?? .join, epoch: link?.welcome.epoch ?? 0,
                    reason: fate(.rank(rank), .killed(signal: signal))))
        case .exited(let process, let end, let phase):
            let line = "\(process) \(fate(process, end, phase))"
            switch ExitStatus(code: end.code) {
            case .badInput: throw .badInput(line)
            case .lost: throw .deadline(line)
            default: throw .command(line)
            }
        }
    }

    /// How a process ended, with the last line of its log and where that is.
    private func fate(_ process: JobProcess, _ end: ProcessEnd, _ phase: Phase? = nil) -> String {
        let log = site.collect(process, into: folder)
        let words = JobFolder.lastLine(of: log).map { "; its last words: \($0)" } ?? ""
        let during = phase.map { " in phase \($0)" } ?? ""
        let killer = end == .killed(signal: SIGKILL) ? memoryKiller() : ""
        return "\(end)\(killer)\(during)\(words) (\(log.path(percentEncoded: false)))"
    }

    /// What says that the kernel killed a process for want of memory, or nothing.
    private func memoryKiller() -> String {
        guard let rise = killsBefore.rise(to: .now()) else { return "" }
        return ", probably by the kernel's out-of-memory killer (\(rise))"
    }
}
