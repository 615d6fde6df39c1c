import Dispatch
import Encoding
import Logging
import NIOCore
import Topology

/// The coordinator's state and what it does about it.
///
/// Lives on one event loop and nowhere else.
final class CoordinatorCore {
    private(set) var membership: Membership
    /// How evenly tokens lay on the ranks at the last heartbeat.
    private var balances: [GroupBalance] = []
    let handlers: Coordinator.Handlers
    private let token: ControlToken
    let log: Logger
    private(set) var channels: [ConnectionID: any Channel] = [:]
    private var roles: [ConnectionID: Handshake.Role] = [:]
    /// Where workers give the model's files.
    private(set) var sources: [ConnectionID: [Endpoint]] = [:]
    /// The port at which this process does; nil where it does not.
    let weightPort: Int?
    private(set) var observers: Set<ConnectionID> = []
    private var pending = PendingConnections<ObjectIdentifier>()
    private var pendingChannels: [ObjectIdentifier: any Channel] = [:]
    private var rejections = RejectionLog()
    private var nextID = 0
    private var finished: [EventLoopPromise<JobEnd>] = []
    /// Who waits for a rank to leave, and for one to come back.
    var moves = RankMoves()
    /// For how long this coordinator did not run, and until when a rank that leaves shows that its
    /// ranks gave it up meanwhile.
    private var pause: (length: Duration, until: Duration)?
    /// Why this coordinator is none any more, while its job goes on.
    private(set) var failure: ClusterError?
    /// What is still to be done: to send may close a channel at once, which is an event of its own.
    private var actions: [Membership.Action] = []
    private var isPerforming = false

    init(
        membership: Membership.Configuration, token: ControlToken,
        handlers: Coordinator.Handlers, log: Logger, weightPort: Int? = nil
    ) {
        self.membership = Membership(configuration: membership, now: Self.now)
        self.token = token
        self.handlers = handlers
        self.log = log
        self.weightPort = weightPort
    }

    /// The machine's monotonic clock.
    static var now: Duration {
        .nanoseconds(Int64(clamping: DispatchTime.now().uptimeNanoseconds))
    }

    // MARK: Pending connections

    /// A connection opened; another one may have to go.
    func beganAuthentication(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        pendingChannels[id] = channel
        guard let evicted = pending.add(id, from: Self.host(of: channel)),
            let other = pendingChannels.removeValue(forKey: evicted)
        else { return }
        rejected(other, "was closed for a newer one: too many have not proved the token")
        other.close(promise: nil)
    }

    /// A connection greeted as a rank or an observer does.
    func greeted(_ channel: any Channel) { pending.greeted(ObjectIdentifier(channel)) }

    /// A connection proved that it has the token, or is gone.
    func endedAuthentication(_ channel: any Channel) {
        pending.remove(ObjectIdentifier(channel))
        pendingChannels[ObjectIdentifier(channel)] = nil
    }

    /// Logs a rejected connection, unless there are too many.
    func rejected(_ channel: any Channel, _ reason: String) {
        let address = Self.host(of: channel)
        for line in rejections.rejected(address, reason, now: Self.now) { log.warning("\(line)") }
    }

    private static func host(of channel: any Channel) -> String {
        channel.remoteAddress?.ipAddress ?? "this machine"
    }

    /// What an unauthenticated connection must get through.
    func handshake() -> CoordinatorHandshake { CoordinatorHandshake(token) }

    // MARK: Connections

    func opened(_ channel: any Channel, as role: Handshake.Role) -> ConnectionID {
        nextID += 1
        let id = ConnectionID(rawValue: nextID)
        channels[id] = channel
        roles[id] = role
        return id
    }

    func closed(_ id: ConnectionID, reason: String) {
        channels[id] = nil
        roles[id] = nil
        sources[id] = nil
        observers.remove(id)
        apply(.closed(id, reason: reason))
    }

    func received(_ frame: ControlFrame, from id: ConnectionID) {
        if failure != nil {
            channels[id]?.close(promise: nil)
            return
        }
        switch frame {
        case .hello(let hello): arrived(id, hello)
        case .entered(let phase): apply(.entered(id, phase))
        case .progress(let progress): apply(.progressed(id, progress))
        case .heartbeat(let statistics): apply(.beat(id, statistics))
        case .contribution(let gather, let blob): apply(.contributed(id, gather, blob: blob))
        case .finished: apply(.finished(id))
        case .failed(let reason, let lost): apply(.failed(id, reason: reason, lost: lost))
        case .suspected(let rank, let epoch, let reason):
            apply(.suspected(id, rank: rank, epoch: epoch, reason: reason))
        case .recovered(let epoch): apply(.recovered(id, epoch: epoch))
        case .prepared(let epoch): apply(.prepared(id, epoch: epoch))
        case .notPrepared(let epoch, let reason, let lacksMemory):
            apply(.notPrepared(id, epoch: epoch, reason: reason, lacksMemory: lacksMemory))
        case .counts(let counts): apply(.counted(id, counts))
        case .askPlacement, .place: answer(frame, to: id)
        case .askWeights: tellWeights(to: id)
        case .askTrace(let seconds): trace(seconds, for: id)
        case .askDrain(let rank): move(rank, .leave, for: id)
        case .askReturn(let rank): move(rank, .comeBack, for: id)
        case .payload(let bytes):
            guard let rank = membership.rank(of: id) else { return refuse(id, "no hello yet") }
            handlers.payload(rank, bytes)
        case .stop:
            guard observers.contains(id) else { return refuse(id, "only observers may stop a job") }
            apply(.stopped)
        case .welcome, .refusal, .gathered, .epoch, .prepare, .abandon, .placement, .notPlaced,
            .traced, .notTraced, .weights, .drained, .notDrained, .drainedRanks, .returned,
            .notReturned, .snapshot, .end:
            refuse(id, "a frame that only the coordinator sends")
        }
    }

    private func arrived(_ id: ConnectionID, _ hello: Hello) {
        guard hello.role == roles[id] else {
            return refuse(id, "a hello of another role than the one that was proved")
        }
        guard hello.rank == nil else {
            sources[id] = hello.weights
            apply(.arrived(id, hello))
            if let end = membership.ending { send(.end(end), to: id) }
            return
        }
        observers.insert(id)
        send(.snapshot(snapshot()), to: id)
    }

    func refuse(_ id: ConnectionID, _ reason: String) {
        log.warning("connection \(id.rawValue) is refused: \(reason)")
        guard let channel = channels[id] else { return }
        channel.writeAndFlush(ControlFrame.refusal(reason: reason))
            .whenComplete { _ in channel.close(promise: nil) }
    }

    // MARK: The job

    func tick() {
        apply(.tick)
        for line in rejections.passed(Self.now) { log.warning("\(line)") }
        inform()
    }

    /// Tells observers how the job is.
    func inform() {
        let snapshot = snapshot()
        for id in observers.sorted(by: { $0.rawValue < $1.rawValue }) {
            send(.snapshot(snapshot), to: id)
        }
    }

    /// Workers must know that the coordinator lives.
    func beat() {
        balances = membership.balances()
        handlers.balanced(balances)
        for member in membership.snapshot(now: Self.now).members {
            if let id = membership.connection(of: member.rank) { send(.heartbeat(nil), to: id) }
        }
    }

    func stop() { apply(.stopped) }

    func orphan() { apply(.orphaned) }

    func note(_ role: RankRole, of ranks: [Rank]) {
        membership.note(role, of: ranks)
        inform()
    }

    func snapshot() -> JobSnapshot {
        var snapshot = membership.snapshot(now: Self.now)
        for (rank, ratio) in balances.flatMap({ zip($0.ranks, $0.ratios) })
        where snapshot.members.indices.contains(rank.rawValue) {
            snapshot.members[rank.rawValue].loadRatio = ratio
        }
        return snapshot
    }

    func send(_ bytes: [UInt8], to rank: Rank) {
        if let id = membership.connection(of: rank) { send(.payload(bytes), to: id) }
    }

    /// Completes `promise` when the job is over.
    func announceEnd(_ promise: EventLoopPromise<JobEnd>) {
        if let failure { return promise.fail(failure) }
        if let end = membership.ending { promise.succeed(end) } else { finished.append(promise) }
    }

    func apply(_ event: Membership.Event) {
        guard failure == nil else { return }
        let now = Self.now
        if let absence = membership.absence(now) { pause = (absence, now + Self.returnLimit) }
        if let pause, now < pause.until, membership.isForsaken(event) { return leave(pause.length) }
        actions += membership.apply(event, now: now)
        // What an event brings about comes after what those before it did: epochs go out in order.
        guard !isPerforming else { return }
        isPerforming = true
        while failure == nil, !actions.isEmpty {
            let next = actions
            actions = []
            for action in next where failure == nil { perform(action) }
        }
        isPerforming = false
    }

    /// For connections that were closed meanwhile to be noticed, and for ranks to come again.
    private static let returnLimit = Duration.seconds(5)

    /// Leaves the job without an end of it, so that its ranks go on to wait for another
    /// coordinator.
    private func leave(_ pause: Duration) {
        let limit = membership.absenceLimit.seconds.formatted(digits: 1)
        let error = ClusterError.command(
            "this coordinator did not run for \(pause.seconds.formatted(digits: 1)) s (the limit"
                + " is \(limit) s): its ranks wait for another one. Start it again")
        failure = error
        for channel in channels.values { channel.close(promise: nil) }
        finished.forEach { $0.fail(error) }
        finished = []
        moves.fail(error)
        handlers.ended(.coordinatorLost(reason: error.description))
    }

    private func perform(_ action: Membership.Action) {
        switch action {
        case .welcome(let id, let rank, let welcome):
            log.info("\(rank) joined")
            send(.welcome(welcome), to: id)
        case .refuse(let id, let reason): refuse(id, reason)
        case .deliver(let id, let gather, let blobs):
            send(.gathered(gather, blobs: blobs), to: id)
        case .reached(let phase):
            log.info("every rank is in phase \(phase)")
            handlers.reached(phase)
        case .prepare(let id, let epoch): send(.prepare(epoch), to: id)
        case .begin(let id, let epoch): send(.epoch(epoch), to: id)
        case .abandon(let id, let epoch): send(.abandon(epoch: epoch), to: id)
        case .sendDrained(let id, let away): send(.drainedRanks(away), to: id)
        case .placing(let group, let outcome):
            log.notice("group \(group): \(outcome)")
        case .warn(let words): log.warning("\(words)")
        case .dismiss(let id, let end):
            send(.end(end), to: id)
            channels[id]?.close(promise: nil)
        case .lost(let rank, let reason, let recovering):
            log.error("\(rank) was lost: \(reason); \(recovering.count) ranks go on")
            handlers.lost(rank, reason, recovering)
        case .returned(let rank, let recovering):
            log.notice("\(rank) is back: \(recovering.count) ranks go on")
            handlers.returned(rank, recovering)
            // Who waits for the rank is to know first that others are about to change over.
            inform()
            moves.succeed(rank, .comeBack)
        case .draining, .notDrained, .drained, .recalled, .notReturned: performMove(action)
        case .recovered(let epoch):
            log.notice("every rank that is left takes part in epoch \(epoch)")
            handlers.recovered(epoch)
        case .takingOver:
            log.notice("ranks come back from a coordinator that was lost: this one takes over")
            handlers.takingOver()
        case .tookOver(let recovering):
            let (epoch, count) = (membership.epoch, recovering.count)
            log.notice("the job is taken over in epoch \(epoch), which \(count) ranks are to join")
            handlers.tookOver(recovering)
        case .end(let end):
            log.notice("\(end)")
            for id in channels.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
                if observers.contains(id) { send(.snapshot(snapshot()), to: id) }
                send(.end(end), to: id)
            }
            finished.forEach { $0.succeed(end) }
            finished = []
            moves.fail(.ended(end))
            handlers.ended(end)
        }
    }

    func send(_ frame: ControlFrame, to id: ConnectionID) {
        guard let channel = channels[id] else { return }
        guard channel.isWritable else {
            log.warning("connection \(id.rawValue) does not read what it is sent")
            channel.close(promise: nil)
            return
        }
        channel.writeAndFlush(frame, promise: nil)
    }
}
