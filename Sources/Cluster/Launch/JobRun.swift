import Topology

/// A job from its start to its end, as its launcher sees it: a value that takes events and the
/// time, and returns what is to be done.
///
/// ```
///            begun                listening                the end is known
///   ready ──────────► starting ─────────────► running ─────────────────────────┐
///                        │ │                   │   │                           │
///                        │ │        asked to   │   │ a process ended early,    │
///                        │ │          stop     │   │ or a rank is lost         │
///                        │ │                   ▼   ▼                           │
///                        │ │            draining   asking, naming ─────────────┤
///                        │ │                │      (the coordinator, or the    │
///                        │ │    coordinator │       exit, may say why)         │
///                        │ │           gone ▼                                  ▼
///                        │ │            leaving ──── every rank gone ──────► ending
///                        │ └─ asked to stop, too late, coordinator gone ───────▲ │
///                        └──── a start failed (from any state) ────────────────┘ │
///                                                        every process gone      ▼
///                                                                               over
/// ```
///
/// A job that goes on without its coordinator is `replacing` it: from `asking`, once the
/// coordinator is gone, to `running`, once another one listens.
///
/// Each state but `running` has a limit. In `ending` every process is asked to end, and killed
/// after `patience`. A second request to stop ends the job at once: it cuts `draining` short, and
/// `patience` to `hurriedPatience`. A third one kills.
///
/// Invariants:
/// 1. `over` comes only when every process that was started is gone.
/// 2. The outcome is decided once, on the way into `ending`.
struct JobRun: Sendable {
    /// What the job consists of and how patient its launcher is.
    struct Configuration: Sendable {
        /// The ranks that the launcher starts itself.
        var ranks: [Rank]
        /// For the coordinator to listen.
        var joinLimit: Duration
        /// For requests under way when the job is asked to end.
        var drainLimit: Duration
        /// For a process to write its last line, and for the coordinator to explain an end.
        var patience = Duration.seconds(3)
        /// The same when somebody asked twice: for a stream to end with its reason.
        var hurriedPatience = Duration.milliseconds(750)
        /// Whether the job goes on without a rank that is lost once it is ready.
        var survivesLosses = false
        /// Whether a process that is lost is started again.
        var restart = RestartPolicy.never
        /// How long ranks wait for another coordinator; zero ends the job with its coordinator.
        var coordinatorLimit = Duration.zero
        /// For the exit of a rank that the coordinator lost, which says how it ended.
        var exitLimit = Duration.seconds(1)

        /// A configuration with the stated values.
        init(ranks: [Rank], joinLimit: Duration, drainLimit: Duration) {
            self.ranks = ranks
            self.joinLimit = joinLimit
            self.drainLimit = drainLimit
        }
    }

    /// What happened.
    enum Event: Sendable {
        /// The launcher wants the job to begin.
        case begun
        /// The coordinator listens, and the launcher watches it.
        case listening
        /// The coordinator told how the job is; `http` is where it serves, once it does.
        case told(JobSnapshot, http: Endpoint?)
        /// The coordinator said that the job is over, or is lost itself.
        case ended(JobEnd)
        /// A process was started.
        case started(JobProcess)
        /// A process that was started is gone.
        case exited(JobProcess, ProcessEnd)
        /// Somebody asked for the end, for the first time or again.
        case stopRequested
        /// A process could not be started again.
        case notRestarted(JobProcess)
        /// Something that was to be done could not be done.
        case failed(ClusterError)
        /// Time passed.
        case tick
    }

    /// What is to be done about it.
    enum Action: Equatable, Sendable {
        /// Start a process.
        case start(JobProcess)
        /// Show the job.
        case show(JobSnapshot)
        /// Tell that a process ended and the job goes on, and what is done about it.
        case report(JobProcess, ProcessEnd, plan: String)
        /// Start a process again.
        case restart(JobProcess)
        /// Tell that the job serves.
        case announce(Endpoint)
        /// Ask a process to end.
        case terminate(JobProcess)
        /// End a process that was asked before.
        case kill(JobProcess)
    }

    /// How a job ended.
    enum Outcome: Equatable, Sendable {
        /// Its work is done, or somebody stopped it.
        case done
        /// The coordinator gave the reason.
        case ended(JobEnd)
        /// A rank was lost because a signal that nobody of ours sent killed it.
        case killed(Rank, signal: Int32, Phase)
        /// A process ended and nobody gave a reason; the phase is that of a rank.
        case exited(JobProcess, ProcessEnd, Phase?)
        /// The launcher could not go on.
        case failed(ClusterError)
    }

    /// The states of the diagram.
    enum State: Equatable, Sendable {
        case ready
        case starting
        case running
        case asking(JobProcess, ProcessEnd?)
        case naming(Rank, JobEnd)
        case replacing(ProcessEnd)
        case draining
        case leaving
        case ending
        case over
    }

    let configuration: Configuration
    private(set) var state = State.ready
    private(set) var since = Duration.zero
    private(set) var living: [JobProcess] = []
    private(set) var snapshot: JobSnapshot?
    private var loss: JobEnd?
    private(set) var isAnnounced = false
    var restarts: RestartPlan
    /// Ranks that ended while it is not known how the coordinator did.
    var unreported: [(process: JobProcess, end: ProcessEnd)] = []
    private(set) var started: [JobProcess: Duration] = [:]
    /// Processes whose rank left on purpose while they lived, and when this was known.
    var left: [JobProcess: Duration] = [:]
    /// Processes that were started again because their rank is to come back, until it is.
    var recalled: Set<JobProcess> = []
    private var hasKilled = false
    private var isHurried = false
    /// How the job ended; nil until it is known.
    private(set) var outcome: Outcome?

    /// A job that has not begun.
    init(_ configuration: Configuration) {
        self.configuration = configuration
        restarts = RestartPlan(configuration.restart)
    }

    /// Whether every process is gone.
    var isOver: Bool { state == .over }

    /// Whether the job goes on, and is shown.
    var isRunning: Bool { state == .running }

    /// Whether the launcher waits for the coordinator to listen.
    var awaitsCoordinator: Bool {
        state == .starting || isReplacing && living.contains(.coordinator)
    }

    /// Takes in an event.
    mutating func apply(_ event: Event, now: Duration) -> [Action] {
        switch event {
        case .begun: return begin(now)
        case .listening: return listening(now)
        case .told(let snapshot, let http): return told(snapshot, http, now)
        case .ended(let end): return ended(end, now)
        case .started(let process):
            living.append(process)
            started[process] = now
            left[process] = nil
            return []
        case .exited(let process, let end): return exited(process, end, now)
        case .notRestarted(let process):
            // One whose rank is to come back is started once.
            if !recalled.contains(process) { _ = restarts.ended(process, now: now) }
            return []
        case .stopRequested: return stopRequested(now)
        case .failed(let error): return conclude(.failed(error), now)
        case .tick: return tick(now)
        }
    }
}

extension JobRun {
    mutating func enter(_ next: State, _ now: Duration) {
        state = next
        since = now
    }

    private mutating func begin(_ now: Duration) -> [Action] {
        guard state == .ready else { return [] }
        enter(.starting, now)
        return [.start(.coordinator)]
    }

    private mutating func listening(_ now: Duration) -> [Action] {
        let isReplacing = isReplacing
        guard state == .starting || isReplacing else { return [] }
        enter(.running, now)
        guard !isReplacing else { return [] }
        return configuration.ranks.map { .start(.rank($0)) }
    }

    private mutating func told(
        _ snapshot: JobSnapshot, _ http: Endpoint?, _ now: Duration
    ) -> [Action] {
        self.snapshot = snapshot
        let recalls = noteRecalled(snapshot)
        noteLeft(snapshot, now)
        if case .asking(.rank(let rank), let exit?) = state, configuration.survivesLosses,
            snapshot.members.contains(where: { $0.rank == rank && $0.loss != nil })
        {
            // The coordinator explains the exit: the job goes on.
            enter(.running, now)
            return [.show(snapshot), report(.rank(rank), exit, now)]
        }
        guard state == .running else { return [] }
        guard !isAnnounced, snapshot.phase == .ready, let http else {
            return [.show(snapshot)] + recalls
        }
        isAnnounced = true
        return [.show(snapshot), .announce(http)] + recalls
    }

    private mutating func ended(_ end: JobEnd, _ now: Duration) -> [Action] {
        switch (state, end) {
        case (.running, .coordinatorLost):
            // Its exit says more, if it comes.
            loss = end
            enter(.asking(.coordinator, nil), now)
            return []
        case (.asking(.coordinator, let exit?), .coordinatorLost): return replace(exit, now)
        case (.asking(.coordinator, nil), .coordinatorLost): return []
        case (.running, .lost(let rank, _, _, _)) where living.contains(.rank(rank)):
            enter(.naming(rank, end), now)
            return []
        case (.asking(.rank(let rank), .killed(let signal)), .lost(let lost, let phase, _, _))
        where lost == rank:
            return conclude(.killed(rank, signal: signal, phase), now)
        case (.asking(let process, let exit?), _) where end.exitStatus == .done:
            // An end in order, to which a process that failed does not belong.
            return conclude(exit.isSuccess ? .done : unexplained(process, exit), now)
        case (.running, _), (.asking, _):
            return conclude(end.exitStatus == .done ? .done : .ended(end), now)
        default: return []
        }
    }

    private mutating func exited(
        _ process: JobProcess, _ end: ProcessEnd, _ now: Duration
    ) -> [Action] {
        living.removeAll { $0 == process }
        switch (state, process) {
        case (.starting, .coordinator): return conclude(.exited(.coordinator, end, nil), now)
        case (.asking(.coordinator, nil), .coordinator), (.replacing, .coordinator):
            return replace(end, now)
        case (.running, .rank), (.replacing, .rank):
            if configuration.survivesLosses, isAnnounced { return [report(process, end, now)] }
            enter(.asking(process, end), now)
            return []
        case (.running, .coordinator):
            enter(.asking(process, end), now)
            return []
        case (.asking(.coordinator, _), .rank):
            unreported.append((process, end))
            return tick(now)
        case (.naming(let lost, .lost(_, let phase, _, _)), .rank(let rank)) where lost == rank:
            guard case .killed(let signal) = end else { return tick(now) }
            return conclude(.killed(rank, signal: signal, phase), now)
        case (.draining, .coordinator):
            enter(.leaving, now)
            return tick(now)
        default: return tick(now)
        }
    }

    private mutating func stopRequested(_ now: Duration) -> [Action] {
        switch state {
        case .ready, .starting: return conclude(.done, now)
        case .running:
            enter(.draining, now)
            return living.contains(.coordinator) ? [.terminate(.coordinator)] : []
        case .draining, .leaving:
            isHurried = true
            return conclude(.done, now)
        case .ending:
            // The first request after an end of another reason does not cut last words short.
            defer { isHurried = true }
            return isHurried ? killAll() : []
        case .naming(_, let end): return conclude(.ended(end), now)
        case .replacing: return conclude(.done, now)
        // Another coordinator would serve on, and know nothing of the request.
        case .asking(.coordinator, _) where replacesCoordinator: return conclude(.done, now)
        case .asking, .over: return []
        }
    }

    private mutating func tick(_ now: Duration) -> [Action] {
        let elapsed = now - since
        switch state {
        case .ready, .over: return []
        case .running: return restarts.due(now: now).map(Action.restart) + hung(now)
        case .starting:
            guard elapsed > configuration.joinLimit else { return [] }
            let reason = "the coordinator did not listen within the time for join"
            return conclude(.failed(.deadline(reason)), now)
        case .asking(let process, let exit):
            guard elapsed > configuration.patience else { return [] }
            // A coordinator that hangs makes room for the next one.
            if exit == nil, replacesCoordinator, elapsed < configuration.patience * 2 {
                return [.kill(.coordinator)]
            }
            guard let exit else { return conclude(loss.map(Outcome.ended) ?? .done, now) }
            let isOrderly = process == .coordinator && exit.isSuccess
            return conclude(isOrderly ? .done : unexplained(process, exit), now)
        case .replacing(let end):
            guard elapsed > configuration.coordinatorLimit else {
                return restarts.due(now: now).map(Action.restart)
            }
            return conclude(.exited(.coordinator, end, nil), now)
        case .naming(_, let end):
            guard elapsed > configuration.exitLimit else { return [] }
            return conclude(.ended(end), now)
        case .draining:
            guard elapsed > configuration.drainLimit + configuration.patience else { return [] }
            return conclude(.done, now)
        case .leaving:
            // Ranks leave by themselves when they hear of the end.
            guard living.isEmpty || elapsed > configuration.patience else { return [] }
            return conclude(.done, now)
        case .ending:
            if living.isEmpty { enter(.over, now) }
            let patience =
                isHurried ? configuration.hurriedPatience : configuration.patience
            guard elapsed > patience else { return [] }
            return killAll()
        }
    }

    /// A process ended, and the coordinator did not say why.
    private func unexplained(_ process: JobProcess, _ end: ProcessEnd) -> Outcome {
        guard case .rank(let rank) = process else { return .exited(process, end, nil) }
        let member = snapshot?.members.first { $0.rank == rank }
        return .exited(process, end, member?.phase ?? .join)
    }

    /// Invariant 2.
    mutating func conclude(_ outcome: Outcome, _ now: Duration) -> [Action] {
        guard state != .ending, state != .over else { return [] }
        self.outcome = outcome
        enter(living.isEmpty ? .over : .ending, now)
        return living.reversed().map(Action.terminate)
    }

    private mutating func killAll() -> [Action] {
        guard !hasKilled else { return [] }
        hasKilled = true
        return living.map(Action.kill)
    }
}
