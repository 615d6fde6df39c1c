import Encoding
public import Topology

/// Who is in the job, how far each rank is, and when it is over: a value that events change.
///
/// ```
///   the slowest rank    ... meets         ... reads its    ... runs steps
///   arrives             the others        weights          nobody sees
///
///   join ────────────► connect ────────► load ──────────► warmUp ──────────► ready or train
///    │                    │                │                 │                    │
///    │ late               │ late           │ late            │ late               │ every rank
///    │                    │                │                 │                    │ finished
///    └────────────────────┴────────────────┴─────────────────┴────────────────────┤
///      a rank fails, closes or is silent; somebody stops the job; the launcher    │
///      is gone                                                                    ▼
///                                                                               ended
///
///   a rank reports a suspect:  suspicion ── its connection closes ──► the suspect is lost
///                                        ── one second passes ──────► the suspect is lost
///                                        ── it reports another ─────► that one is the suspect
/// ```
///
/// A job that survives losses does not end by them once it is ready: `Membership+Losses.swift`. It
/// goes on with another coordinator, too: `Membership+TakeOver.swift`.
///
/// Invariants:
/// 1. The job's phase is that of its slowest rank, and never goes back.
/// 2. A rank is held by at most one connection; a second claim is refused and harms nobody.
/// 3. After `end` nothing changes any more.
public struct Membership: Sendable {
    /// What the job is and how patient it is.
    public struct Configuration: Sendable {
        /// Ranks that must arrive.
        public var rankCount: Int
        /// What they must agree on.
        public var identity: JobIdentity
        /// How long the job may stay in each phase; a phase that is missing has no limit.
        public var deadlines: [Phase: Duration]
        /// Silence after which a rank is lost.
        ///
        /// Far above a time slice: ranks share cores.
        public var silenceLimit: Duration
        /// The epoch of the map of experts with which the ranks begin.
        package var epoch = ExpertMap.firstEpoch
        /// Whether the other ranks go on without one that is lost, once the job is ready.
        public var survivesLosses = false
        /// Which ranks work together; nil for all.
        public var groups: RankGroupMap?
        /// Where the experts of each group are at the start, layer by layer; none for a job whose
        /// experts stay where they are.
        public var placements: [[ExpertPlacement]] = []
        /// Groups that the experts of a layer make for its gate (`n_group`).
        public var expertGroupCount = 1
        /// How often a better placement is searched for; nil for never.
        public var rebalanceInterval: Duration?
        /// How long ranks of a coordinator that was lost are waited for; zero takes none back.
        public var takeOverLimit = Duration.zero
        /// Whether such ranks are expected: this coordinator takes the place of one whose job
        /// served.
        public var expectsTakeOver = false

        /// A configuration with the stated values.
        public init(
            rankCount: Int, identity: JobIdentity, deadlines: [Phase: Duration],
            silenceLimit: Duration
        ) {
            self.rankCount = rankCount
            self.identity = identity
            self.deadlines = deadlines
            self.silenceLimit = silenceLimit
        }
    }

    /// What happened.
    public enum Event: Sendable {
        /// A connection that showed the token said who it is.
        case arrived(ConnectionID, Hello)
        /// A worker entered a phase.
        case entered(ConnectionID, Phase)
        /// A worker told how far it is.
        case progressed(ConnectionID, PhaseProgress)
        /// A worker lives.
        case beat(ConnectionID, RankStatistics?)
        /// A worker gave its part of an all-gather.
        case contributed(ConnectionID, Gather, blob: [UInt8])
        /// A worker did all of its work.
        case finished(ConnectionID)
        /// A worker cannot go on.
        case failed(ConnectionID, reason: String, lost: Rank?)
        /// A worker cannot make a step of an epoch because of another rank, and waits for the next.
        case suspected(ConnectionID, rank: Rank, epoch: UInt64, reason: String)
        /// A worker takes part in an epoch.
        case recovered(ConnectionID, epoch: UInt64)
        /// A worker reaches every rank of an epoch that is to come.
        case prepared(ConnectionID, epoch: UInt64)
        /// It does not, or cannot read what comes to it.
        case notPrepared(
            ConnectionID, epoch: UInt64, reason: String, lacksMemory: Bool = false)
        /// A worker counted the choices of its gates.
        case counted(ConnectionID, ExpertCounts)
        /// Someone asked for other placements of a group.
        case place([ExpertPlacement], group: Int)
        /// Someone asked for a rank to leave.
        case drain(Rank)
        /// Someone asked for a rank that left on purpose to come back.
        case recall(Rank)
        /// A connection ended.
        case closed(ConnectionID, reason: String)
        /// Time passed.
        case tick
        /// Someone asked for the end.
        case stopped
        /// The process that started the coordinator is gone.
        case orphaned
    }

    /// What is to be done about it.
    public enum Action: Equatable, Sendable {
        /// Let a worker in.
        case welcome(ConnectionID, Rank, Welcome)
        /// Reject a worker.
        case refuse(ConnectionID, reason: String)
        /// Give all parts of an all-gather to a worker.
        case deliver(ConnectionID, Gather, blobs: [[UInt8]])
        /// Every rank is in this phase or beyond.
        case reached(Phase)
        /// Tell a worker who is to take part next, so that it meets them while it serves.
        case prepare(ConnectionID, JobEpoch)
        /// Tell a worker who takes part from now on.
        case begin(ConnectionID, JobEpoch)
        /// Tell a worker that an epoch which it prepared for will not come.
        case abandon(ConnectionID, epoch: UInt64)
        /// Tell a worker which ranks are away on purpose.
        case sendDrained(ConnectionID, DrainedRanks)
        /// The experts of a group are placed anew, or are not after all.
        case placing(group: Int, PlacementOutcome)
        /// A rank is about to leave on purpose: it gets no new request.
        case draining(Rank)
        /// It stays after all.
        case notDrained(Rank, reason: String)
        /// It has left; these must take part in the new epoch first.
        case drained(Rank, recovering: [Rank])
        /// A rank that left is to be started again.
        case recalled(Rank)
        /// It is not back in time, or was lost on its way.
        case notReturned(Rank, reason: String)
        /// Write into the log what people should know.
        case warn(String)
        /// Tell a rank that the job goes on without it.
        case dismiss(ConnectionID, JobEnd)
        /// The job goes on without a rank; these must take part in the new epoch first.
        case lost(Rank, reason: String, recovering: [Rank])
        /// A rank that was lost is back; these must take part in the new epoch first.
        case returned(Rank, recovering: [Rank])
        /// Every living rank takes part in the epoch.
        case recovered(epoch: UInt64)
        /// A rank of a coordinator that was lost is back: others may follow.
        case takingOver
        /// The job goes on with the ranks that are back; these must take part in a new epoch first.
        case tookOver(recovering: [Rank])
        /// Tell everybody that the job is over.
        case end(JobEnd)
    }

    struct Member: Sendable {
        var connection: ConnectionID?
        var phase = Phase.join
        /// When it entered that phase.
        var since = Duration.zero
        var progress: PhaseProgress?
        var node = ""
        var pid: Int32 = 0
        var kernels: KernelOffer?
        var lastHeard: Duration?
        var statistics: RankStatistics?
        var lastError: String?
        var isFinished = false
        /// Why the job goes on without it.
        var loss: String?
        /// While it is ready to come back, and machines have no memory for that.
        var wait: MemoryWait?
        /// Whether it leaves on purpose, or left so.
        var drain: JobSnapshot.Drain?
        /// Since when it is to come back, after it left.
        var recalled: Duration?
        /// The last epoch that it was told, and the last in which it takes part.
        var told: UInt64
        var epoch: UInt64
    }

    let configuration: Configuration
    var members: [Member]
    var ranks: [ConnectionID: Rank] = [:]
    var phaseBegan: Duration
    var gathers: [Gather: [Rank: [UInt8]]] = [:]
    /// Whom each rank suspects in this epoch.
    var suspicions: [Rank: (suspect: Rank, reason: String)] = [:]
    var suspectedSince: Duration?
    /// The epoch that is being prepared.
    var candidate: Candidate?
    /// The highest number of an epoch that was told to anybody.
    var lastNumber: UInt64
    var epochBegan: Duration
    /// How much each expert of each group is used.
    var loads: [ExpertLoad]
    /// Placements of groups that are not those of the start any more.
    var moved: [Int: [ExpertPlacement]] = [:]
    /// Roles of ranks whose group has another one than the job file gives it, or had.
    var roles: [Rank: RankRole] = [:]
    /// What became of the last placement of each group.
    var outcomes: [Int: PlacementOutcome] = [:]
    /// How better placements were searched for.
    var searches: Searches
    /// When time was last handed in.
    var lastTick: Duration?
    /// Ranks that come back from a coordinator that was lost; nil once they are here.
    var takeOver: TakeOver?
    /// How the ranks compute, once all have arrived: what they all have.
    var kernels: [String: String]?
    var suspect: (rank: Rank, reason: String, since: Duration)?

    /// The job's phase.
    public internal(set) var phase = Phase.join
    /// The epoch of the job's map of experts (`ExpertMap.epoch`).
    public internal(set) var epoch: UInt64
    /// Why the job is over.
    public private(set) var ending: JobEnd?

    /// A job nobody has joined yet.
    public init(configuration: Configuration, now: Duration) {
        self.configuration = configuration
        members = Array(
            repeating: Member(told: configuration.epoch, epoch: configuration.epoch),
            count: configuration.rankCount)
        epoch = configuration.epoch
        lastNumber = configuration.epoch
        phaseBegan = now
        epochBegan = now
        searches = Searches(last: now)
        loads = configuration.placements.map {
            ExpertLoad(layerCount: $0.count, expertCount: $0.first?.expertCount ?? 0, now: now)
        }
    }

    /// Takes in an event.
    public mutating func apply(_ event: Event, now: Duration) -> [Action] {
        guard ending == nil else { return [] }
        if case .tick = event { forgive(now, isTick: true) } else { forgive(now, isTick: false) }
        switch event {
        case .arrived(let id, let hello): return arrived(id, hello, now)
        case .entered(let id, let phase):
            let actions =
                change(id, now) {
                    guard phase > $0.phase else { return }
                    ($0.phase, $0.since) = (phase, now)
                } + advance(now)
            return actions + (phase == .ready ? prepare(now) : [])
        case .progressed(let id, let progress):
            return change(id, now) { $0.progress = progress }
        case .beat(let id, let statistics):
            return change(id, now) { $0.statistics = statistics ?? $0.statistics }
        case .contributed(let id, let gather, let blob):
            return contributed(id, gather, blob, now)
        case .finished(let id):
            let actions = change(id, now) { $0.isFinished = true }
            return members.allSatisfy(\.isFinished) ? end(.done) : actions
        case .failed(let id, let reason, let lost): return failed(id, reason, lost, now)
        case .suspected(let id, let rank, let epoch, let reason):
            return suspected(id, rank, epoch, reason, now)
        case .recovered(let id, let epoch): return recovered(id, epoch, now)
        case .prepared(let id, let epoch): return prepared(id, epoch, now)
        case .notPrepared(let id, let epoch, let reason, let lacksMemory):
            return notPrepared(id, epoch, reason, lacksMemory: lacksMemory, now)
        case .counted(let id, let counts): return counted(id, counts, now)
        case .place(let placements, let group): return place(placements, group: group, now)
        case .drain(let rank): return drain(rank, now)
        case .recall(let rank): return recall(rank, now)
        case .closed(let id, let reason): return closed(id, reason, now)
        case .tick: return tick(now)
        case .stopped: return end(.stopped)
        case .orphaned: return end(.launcherLost)
        }
    }

    /// The job at this moment.
    public func snapshot(now: Duration) -> JobSnapshot {
        JobSnapshot(
            epoch: epoch, phase: phase,
            secondsLeft: configuration.deadlines[phase].map {
                max(.zero, phaseBegan + $0 - now).seconds
            },
            members: members.enumerated().map { index, member in
                JobSnapshot.Member(
                    rank: Rank(rawValue: index), phase: member.phase, progress: member.progress,
                    node: member.node, pid: member.pid,
                    silentSeconds: member.lastHeard.map { (now - $0).seconds },
                    statistics: member.statistics, role: role(of: Rank(rawValue: index)),
                    lastError: member.lastError, loss: member.loss, drain: member.drain,
                    isRecalled: member.recalled != nil && member.connection == nil ? true : nil)
            }, awaited: takeOver == nil ? nil : awaited,
            isChanging: isRecovering || candidate != nil ? true : nil, end: ending)
    }

    /// The connection of a rank, if it is in.
    public func connection(of rank: Rank) -> ConnectionID? {
        members.indices.contains(rank.rawValue) ? members[rank.rawValue].connection : nil
    }

    /// The rank of a connection, if it is in.
    public func rank(of connection: ConnectionID) -> Rank? { ranks[connection] }
}

extension Membership {
    /// Outstanding all-gathers of one rank; ranks run in step, so more than a few is a fault.
    static let mostGathers = 64
    /// How long a suspect has to prove the suspicion by closing, before it counts as lost.
    static let suspicionGrace = Duration.seconds(1)

    private mutating func change(
        _ id: ConnectionID, _ now: Duration, _ body: (inout Member) -> Void
    ) -> [Action] {
        guard let rank = ranks[id] else { return [] }
        members[rank.rawValue].lastHeard = now
        body(&members[rank.rawValue])
        return []
    }

    private mutating func failed(
        _ id: ConnectionID, _ reason: String, _ lost: Rank?, _ now: Duration
    ) -> [Action] {
        guard let rank = ranks[id] else { return [] }
        members[rank.rawValue].lastError = reason
        if goesOn || expectsTakeOver(now) { return lose(rank, reason: reason, now) }
        guard let lost, lost != rank, members.indices.contains(lost.rawValue) else {
            return end(
                .failed(rank: rank, phase: members[rank.rawValue].phase, reason: reason))
        }
        // A suspect that reports is alive: it left because of the rank that it suspects itself.
        if suspect == nil || suspect?.rank == rank {
            suspect = (lost, "\(rank) reports: \(reason)", suspect?.since ?? now)
        }
        return []
    }

    private mutating func closed(
        _ id: ConnectionID, _ reason: String, _ now: Duration
    ) -> [Action] {
        takeOver?.waiting.removeAll { $0.id == id }
        guard let rank = ranks[id] else { return [] }
        if goesOn || expectsTakeOver(now) { return lose(rank, reason: reason, now) }
        ranks[id] = nil
        members[rank.rawValue].connection = nil
        // A rank that reported a suspect may leave first, and is not the lost one.
        if let suspect, suspect.rank != rank, members[rank.rawValue].lastError != nil {
            return []
        }
        return end(lost(rank, reason: reason))
    }

    private mutating func tick(_ now: Duration) -> [Action] {
        if let suspect, now - suspect.since >= Self.suspicionGrace {
            return end(lost(suspect.rank, reason: suspect.reason))
        }
        for index in members.indices {
            guard let silence = silence(of: Rank(rawValue: index), now) else { continue }
            guard silence > configuration.silenceLimit else { continue }
            let seconds = silence.seconds.formatted(digits: 1)
            return lose(
                Rank(rawValue: index),
                reason: "silent for \(seconds) s (the limit is"
                    + " \(configuration.silenceLimit.seconds.formatted(digits: 1)) s)", now)
        }
        if goesOn {
            return settle(now) + judge(now) + lateRecall(now) + prepare(now) + rebalance(now)
        }
        guard let limit = configuration.deadlines[phase], now - phaseBegan > limit,
            !expectsTakeOver(now),
            let late = members.firstIndex(where: { $0.phase == phase })
        else { return [] }
        return end(
            .late(
                rank: Rank(rawValue: late), phase: phase, deadline: limit,
                lastError: members[late].lastError
                    ?? (members[late].connection == nil ? "it was never heard of" : nil)))
    }

    mutating func end(_ reason: JobEnd) -> [Action] {
        ending = reason
        return [.end(reason)]
    }
}
