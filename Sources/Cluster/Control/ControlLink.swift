import Foundation
import Logging
import NIOCore
import NIOPosix
public import Topology

/// A worker's (or observer's) end of the control plane, for threads that block.
///
/// ```
///               no answer, or an answer that proves nothing: again after 0.2 s
///                 ┌─────┐
///                 ▼     │
///   join ───────► connecting ── proof, hello, welcome ──► joined ── end of the job ──► ended
///                 │     │                                   │                            ▲
///   another       │     │ the join limit                    │ the connection closes,     │
///   identity      ▼     ▼ passes                            │ or silence                 │
///            refused   deadline                             └─── coordinatorLost ────────┘
/// ```
///
/// A worker that takes part in an epoch may wait for another coordinator instead
/// (`ControlLink+Waiting.swift`).
///
/// Safe because `condition` guards every mutable field and is never held while calling out.
public final class ControlLink: @unchecked Sendable {
    /// Where and as whom to join.
    public struct Configuration: Sendable {
        /// Where the coordinator listens.
        public var endpoint: Endpoint
        /// The job's secret.
        public var token: ControlToken
        /// Who we are.
        public var hello: Hello
        /// How long to keep trying.
        public var joinLimit: Duration
        /// Silence of the coordinator after which it is lost.
        public var silenceLimit: Duration
        /// How long a worker that takes part in an epoch waits for another coordinator when its own
        /// is lost; zero not at all.
        public var waitLimit = Duration.zero

        /// A configuration with every field given.
        public init(
            _ endpoint: Endpoint, token: ControlToken, hello: Hello, joinLimit: Duration,
            silenceLimit: Duration
        ) {
            self.endpoint = endpoint
            self.token = token
            self.hello = hello
            self.joinLimit = joinLimit
            self.silenceLimit = silenceLimit
        }
    }

    /// What the coordinator said when it let us in.
    public internal(set) var welcome = Welcome(epoch: 0, rankCount: 0)

    let configuration: Configuration
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let condition = NSCondition()
    var channel: (any Channel)?
    var gathered: [Gather: [[UInt8]]] = [:]
    var isWelcome = false
    var isProved = false
    var lastSnapshot: JobSnapshot?
    var attempts = 0
    /// How the present attempt to join ended, if it did without a welcome.
    var attemptEnd: JobEnd?
    /// Whether the coordinator is lost and another one is waited for.
    var isWaiting = false
    var isSearching = false
    var isClosed = false
    /// When and why the last coordinator was lost.
    var loss: (since: ContinuousClock.Instant, reason: String)?
    /// How many coordinators were lost.
    var losses = 0
    var memory = Memory()
    /// Why a coordinator is lost, until that is said.
    var unsaidLoss: String?
    /// Whether another coordinator let this rank in before that.
    var isBackUnsaid = false
    var whenLost: (@Sendable (String) -> Void)?
    var whenBack: (@Sendable () -> Void)?
    var refusal: String?
    var ending: JobEnd?
    var lastHeard = ContinuousClock.now
    var lastBeat = ContinuousClock.now
    var receive: (@Sendable ([UInt8]) -> Void)?
    var early: [[UInt8]] = []
    var statistics: @Sendable () -> RankStatistics? = { nil }
    var whenEnded: (@Sendable (JobEnd) -> Void)?
    var lastEpoch: JobEpoch?
    /// The highest number of an epoch that was to come, and will not.
    var lastAbandoned: UInt64 = 0
    var whenEpoch: (@Sendable (JobEpoch) -> Void)?
    var whenPrepare: (@Sendable (JobEpoch) -> Void)?
    var whenAbandoned: (@Sendable (UInt64) -> Void)?
    var counts: @Sendable () -> ExpertCounts? = { nil }
    var lastPlacement: Result<PlacementReport, ClusterError>?
    /// Who gives the model's files.
    var lastSources: [[Endpoint]]?
    /// The file of the trace that this observer asked for.
    var lastTrace: Result<String, ClusterError>?
    /// What became of the rank that this observer asked to leave.
    var lastDrain: Result<Void, ClusterError>?
    /// What became of the rank that this observer asked to come back.
    var lastReturn: Result<Void, ClusterError>?

    private init(_ configuration: Configuration) { self.configuration = configuration }

    /// Joins the job, trying again while the coordinator is not there.
    ///
    /// - Throws: `refused` with the field that differs; `deadline` with the last error.
    public static func join(_ configuration: Configuration) throws(ClusterError) -> ControlLink {
        let link = ControlLink(configuration)
        do {
            try link.connect()
        } catch {
            link.close()
            throw error
        }
        return link
    }

    // MARK: What a worker says

    /// Tells that this rank entered a phase.
    public func enter(_ phase: Phase) { write(.entered(phase)) }

    /// Tells how far this rank is inside its phase.
    public func report(_ progress: PhaseProgress) { write(.progress(progress)) }

    /// Tells that this rank cannot go on, and which other rank it suspects.
    public func fail(_ reason: String, lost: Rank?) {
        let bytes = reason.utf8.prefix(ControlProtocol.longestReasonBytes)
        write(.failed(reason: String(decoding: bytes, as: UTF8.self), lost: lost))
    }

    /// Tells that this rank cannot make a step of an epoch because of another, and waits for the
    /// next one.
    public func suspect(_ rank: Rank, epoch: UInt64, reason: String) {
        let bytes = reason.utf8.prefix(ControlProtocol.longestReasonBytes)
        let frame = ControlFrame.suspected(
            rank, epoch: epoch, reason: String(decoding: bytes, as: UTF8.self))
        change { $0.memory.suspicion = (epoch, frame) }
        write(frame)
    }

    /// Tells that this rank takes part in an epoch.
    public func recovered(epoch: UInt64) {
        change { $0.memory.recovered = epoch }
        write(.recovered(epoch: epoch))
    }

    /// Tells that this rank reaches every rank of an epoch that is to come.
    public func prepared(epoch: UInt64) { write(.prepared(epoch: epoch)) }

    /// Tells that it does not, or cannot read what comes to it.
    ///
    /// - Parameter lacksMemory: Whether its machine has no memory for that now.
    public func notPrepared(epoch: UInt64, reason: String, lacksMemory: Bool) {
        let bytes = reason.utf8.prefix(ControlProtocol.longestReasonBytes)
        write(
            .notPrepared(
                epoch: epoch, reason: String(decoding: bytes, as: UTF8.self),
                lacksMemory: lacksMemory))
    }

    /// Sends application bytes to the coordinator.
    ///
    /// - Throws: `badInput` beyond the limit of a frame, which would end the connection.
    public func send(_ bytes: [UInt8]) throws(ClusterError) {
        guard bytes.count <= ControlProtocol.largestPayloadBytes else {
            throw .badInput(
                "a payload of \(bytes.count) bytes: the limit is"
                    + " \(ControlProtocol.largestPayloadBytes)")
        }
        write(.payload(bytes))
    }

    /// Tells that this rank did all of its work.
    ///
    /// The job is done when every rank said so.
    public func finish() { write(.finished) }

    /// Gives ranks the blobs of each other.
    ///
    /// The ranks that take part call it in the same order, with the same list.
    ///
    /// - Parameter members: The ranks that take part, this one among them; empty is every rank of
    ///   the job.
    /// - Parameter epoch: The one that the members are of.
    /// - Returns: The blobs in the order of `members`, or of all ranks.
    /// - Throws: `ended` when the job is over or its coordinator is lost, `superseded` when another
    ///   epoch has begun, `abandoned` when this one will not come, and `deadline` after `limit`.
    public func allGather(
        _ blob: [UInt8], label: String, among members: [Rank] = [],
        epoch number: UInt64 = ExpertMap.firstEpoch, limit: Duration
    ) throws(ClusterError) -> [[UInt8]] {
        let gather = Gather(label: label, members: members, epoch: number)
        guard blob.count <= ControlProtocol.largestBlobBytes else {
            throw .badInput(
                "a blob of \(blob.count) bytes: the limit is \(ControlProtocol.largestBlobBytes)")
        }
        let before = lossesSoFar
        if before != nil { write(.contribution(gather, blob: blob)) }
        let blobs = try wait(limit, "all-gather \"\(label)\"") {
            () -> Result<[[UInt8]], ClusterError>? in
            // What was given to a coordinator that is lost, no other one has.
            if self.losses != before {
                let reason = "all-gather \"\(label)\" was with it"
                return .failure(.ended(.coordinatorLost(reason: reason)))
            }
            if let blobs = self.gathered.removeValue(forKey: gather) {
                return .success(blobs)
            }
            if let now = self.lastEpoch?.number, now > number {
                return .failure(.superseded(epoch: number, by: now))
            }
            // One epoch is prepared at a time, so none of those before it comes either.
            let isToCome = number > self.epochNumber && number <= self.lastAbandoned
            return isToCome ? .failure(.abandoned(epoch: number)) : nil
        }
        return try blobs.get()
    }

    /// Who takes part now: the last epoch that was told, else the first.
    public var epoch: JobEpoch {
        condition.lock()
        defer { condition.unlock() }
        return lastEpoch ?? welcome.returnsTo ?? .first(welcome.epoch, rankCount: welcome.rankCount)
    }

    /// The number of that epoch, for a caller that has the lock.
    private var epochNumber: UInt64 {
        lastEpoch?.number ?? welcome.returnsTo?.number ?? welcome.epoch
    }

    /// Waits for an epoch after the stated one in which a rank takes part.
    ///
    /// - Throws: `ended` when the job is over, `deadline` after `limit`.
    public func waitForEpoch(
        after number: UInt64, limit: Duration, of rank: Rank
    ) throws(ClusterError) -> JobEpoch {
        try wait(limit, "an epoch after \(number)") {
            self.lastEpoch.flatMap { epoch in
                epoch.number > number && epoch.living.contains(rank) ? epoch : nil
            }
        }
    }

    /// Calls `body` on the link's thread for every epoch that is told from now on, and `prepare`
    /// for every one that is to come; `abandon` for one that will not come after all.
    public func onEpoch(
        _ body: @escaping @Sendable (JobEpoch) -> Void,
        prepare: @escaping @Sendable (JobEpoch) -> Void,
        abandon: @escaping @Sendable (UInt64) -> Void
    ) {
        group.next().execute {
            self.whenEpoch = body
            self.whenPrepare = prepare
            self.whenAbandoned = abandon
        }
    }

    // MARK: What a worker hears

    /// From now on application bytes go to `receive`, on the link's thread; bytes that came
    /// earlier go to it first.
    public func onPayload(_ receive: @escaping @Sendable ([UInt8]) -> Void) {
        // On the loop, so that what came early cannot be overtaken.
        group.next().execute {
            self.early.forEach(receive)
            self.early = []
            self.receive = receive
        }
    }

    /// From now on every heartbeat carries what `read` returns.
    public func reportStatistics(_ read: @escaping @Sendable () -> RankStatistics?) {
        group.next().execute {
            self.statistics = read
            // Whoever asks before the next heartbeat sees numbers, too.
            if self.lossesSoFar != nil { self.write(.heartbeat(read())) }
        }
    }

    /// From now on the coordinator is told every two seconds what `take` returns.
    public func reportCounts(_ take: @escaping @Sendable () -> ExpertCounts?) {
        group.next().execute { self.counts = take }
    }

    /// Calls `body` once when the job is over, at once if it already is.
    public func onEnd(_ body: @escaping @Sendable (JobEnd) -> Void) {
        condition.lock()
        let end = ending
        if end == nil { whenEnded = body }
        condition.unlock()
        if let end { body(end) }
    }

    /// What an observer last heard of the job.
    public var snapshot: JobSnapshot? {
        condition.lock()
        defer { condition.unlock() }
        return lastSnapshot
    }

    /// Asks for the end of the job.
    ///
    /// Only observers may.
    public func stop() { write(.stop) }

    /// Why the job is over, or nil while it is not.
    public var end: JobEnd? {
        condition.lock()
        defer { condition.unlock() }
        return ending
    }

    /// Blocks until the job is over.
    public func waitForEnd() -> JobEnd {
        condition.lock()
        defer { condition.unlock() }
        while true {
            if let ending { return ending }
            condition.wait()
        }
    }

    /// Closes the connection.
    ///
    /// What was written before is sent.
    public func close() {
        stopSearching()
        try? channel?.close().wait()
        try? group.syncShutdownGracefully()
    }
}
