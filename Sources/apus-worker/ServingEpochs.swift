import Cluster
import Foundation
import Logging
import Serving
import Synchronization
import Topology
import Transport

/// Takes a rank that serves from one epoch of its job to the next.
///
/// The coordinator says who takes part. A rank whose step ends by another rank's loss reports whom
/// it suspects, leaves the fabric, and waits for the next epoch; a rank that is told of an epoch
/// ends its step. Each then makes a fabric of the ranks that are left. For a rank that comes back
/// the fabric is made beforehand, while steps go on.
///
/// 1. A fabric has the members of one epoch, so nothing of an older epoch arrives in it.
final class ServingEpochs: Sendable {
    private struct State {
        var epoch: JobEpoch
        var fabric: (any Fabric)?
        var isLeaving = false
        /// Of an epoch that is to come.
        var prepared: (number: UInt64, fabric: any Fabric, epoch: PreparedEpoch)?
        /// Whether it was joined, and its ranks may still meet.
        var isMeeting = false
        /// Up to which number no epoch will come any more.
        var abandoned: UInt64 = 0
    }

    private let job: JobConfiguration
    private let rank: Rank
    private let link: ControlLink
    private let log: Logger
    private let state: Mutex<State>
    /// Held while this rank prepares for an epoch: one at a time.
    private let preparing = NSLock()

    init(_ job: JobConfiguration, rank: Rank, link: ControlLink, log: Logger) {
        self.job = job
        self.rank = rank
        self.link = link
        self.log = log
        state = Mutex(State(epoch: link.epoch))
    }

    /// The epoch's number.
    var number: UInt64 { state.withLock { $0.epoch.number } }

    /// Whether this rank fails while others go on: what it held goes on elsewhere, and is not
    /// reported as failed.
    var isLeaving: Bool { state.withLock { $0.isLeaving } }

    /// Whether this rank is ready for an epoch that is to come.
    ///
    /// When that begins, a step may fail because a rank leaves or has changed over already, which
    /// is no fault. If a rank is lost instead, another epoch follows, and `begin` writes of it.
    var isPrepared: Bool {
        state.withLock { ($0.prepared?.number ?? 0) > $0.epoch.number }
    }

    /// The ranks of the present epoch's fabric, in its order, as the job numbers them.
    var members: [Rank] {
        job.groups.group(of: rank).members.filter(state.withLock { $0.epoch }.living.contains)
    }

    /// Joins the ranks of the present epoch.
    func join() throws -> (fabric: any Fabric, epoch: GroupEpoch) {
        let epoch = state.withLock { $0.epoch }
        let fabric = try fabric(of: epoch)
        state.withLock { $0.fabric = fabric }
        return (fabric, group(epoch))
    }

    /// - Parameter limit: For the others to come.
    private func fabric(of epoch: JobEpoch, limit: Duration? = nil) throws -> any Fabric {
        try JobFabric(job: job, rank: rank, link: link, log: log)
            .makeForGroup(in: epoch, threadsPerRank: job.threads, limit: limit)
    }

    /// For ranks to meet a rank that comes back: nobody waits for it longer.
    private static let preparationLimit = Duration.seconds(10)

    /// The epoch that a rank which comes back prepares for, and its place in it; nil for a rank of
    /// the job's start.
    var returning: (epoch: GroupEpoch, place: Rank)? {
        guard var epoch = link.welcome.returnsTo else { return nil }
        epoch.living = (epoch.living + [rank]).sorted()
        let members = job.groups.group(of: rank).members.filter(epoch.living.contains)
        return members.firstIndex(of: rank).map { (group(epoch), Rank(rawValue: $0)) }
    }

    /// The epoch whose experts this rank holds: the present one, or that for which it loaded.
    private var held: GroupEpoch {
        let present = state.withLock { $0.epoch }
        guard !present.living.contains(rank), let returning else { return group(present) }
        return returning.epoch
    }

    /// The ranks of this rank's group that take part in an epoch.
    private func group(_ epoch: JobEpoch) -> GroupEpoch {
        let (group, members) = job.groups.group(of: rank)
        let living = members.indices.filter { epoch.living.contains(members[$0]) }
        return GroupEpoch(
            number: epoch.number, rankCount: group.rankCount,
            living: living.map { Rank(rawValue: $0) }, placements: epoch.placements)
    }

    /// Ends the epoch of `engine` when the coordinator begins another, and prepares for those to
    /// come.
    func follow(
        _ engine: Engine, _ preparation: EpochPreparation, _ flight: FlightWriter
    ) {
        link.onEpoch(
            { [self] in begin($0, engine, flight) },
            prepare: { [self] next in
                // A thread of its own: meeting the others takes longer than the link may be silent.
                Thread.detachNewThread { [self] in prepare(next, preparation) }
            }, abandon: { [self] in abandon($0 ... $0) })
    }

    /// Meets the ranks of an epoch that is to come, and reads the experts that come to this one, so
    /// that the epoch begins without a step that waits.
    ///
    /// What was prepared before is let go of by then, because ranks say what memory is free: it
    /// ends by itself once its epoch will not come.
    private func prepare(_ next: JobEpoch, _ preparation: EpochPreparation) {
        preparing.lock()
        defer { preparing.unlock() }
        guard isToCome(next) else { return }
        do {
            let fabric = try fabric(of: next, limit: Self.preparationLimit)
            do {
                try prepare(next, fabric, preparation)
            } catch {
                fabric.close()
                throw error
            }
        } catch {
            log.warning("epoch \(next.number) is not prepared: \(error)")
            let lacksMemory = if case .memory? = error as? ServingError { true } else { false }
            link.notPrepared(
                epoch: next.number, reason: "\(error)", lacksMemory: lacksMemory)
        }
    }

    private func prepare(
        _ next: JobEpoch, _ fabric: any Fabric, _ preparation: EpochPreparation
    ) throws {
        let wanted = group(next)
        let epoch = try preparation.prepare(fabric, wanted)
        try preparation.fetch(epoch, wanted, from: held) { [self] in isToCome(next) }
        let stale = state.withLock { state -> (any Fabric)? in
            guard Self.isToCome(next, state), next.number > state.prepared?.number ?? 0 else {
                return fabric
            }
            defer { state.prepared = (next.number, fabric, epoch) }
            return state.prepared?.fabric
        }
        stale?.close()
        link.prepared(epoch: next.number)
    }

    private func isToCome(_ next: JobEpoch) -> Bool {
        state.withLock { Self.isToCome(next, $0) } && link.end == nil
    }

    private static func isToCome(_ next: JobEpoch, _ state: State) -> Bool {
        next.number > max(state.epoch.number, state.abandoned)
    }

    /// Lets go of what was being prepared when the coordinator was lost: another one numbers on.
    ///
    /// What was prepared for an epoch that has begun is kept for it.
    func forget() {
        let (begun, highest) = (max(link.epoch.number, number), link.highestEpoch)
        if highest > begun { abandon(begun + 1 ... highest) }
    }

    /// Lets go of what was prepared for an epoch that will not come, none of these will.
    private func abandon(_ numbers: ClosedRange<UInt64>) {
        let fabric = state.withLock { state -> (any Fabric)? in
            state.abandoned = max(state.abandoned, numbers.upperBound)
            guard let prepared = state.prepared, numbers.contains(prepared.number) else {
                return nil
            }
            state.prepared = nil
            return prepared.fabric
        }
        closeLater(fabric)
    }

    /// Ends the engine's epoch, unless the engine's thread knew of the next one first.
    private func begin(_ next: JobEpoch, _ engine: Engine, _ flight: FlightWriter) {
        let all = job.groups.group(of: rank).members
        let (present, wasPrepared) = state.withLock { state in
            (all.filter(state.epoch.living.contains), state.prepared?.number == next.number)
        }
        // Ranks prepare for an epoch of fewer ranks only where somebody asked one to leave.
        let cause = wasPrepared ? "it was drained" : "the coordinator gave it up"
        if !wasPrepared {
            for lost in present where !next.living.contains(lost) {
                flight.recorder.noteLoss(of: lost, reason: cause)
                flight.write("\(lost) is lost, epoch \(next.number) follows")
            }
        }
        let isNew = state.withLock { state in
            guard next.number > state.epoch.number else { return false }
            for (place, member) in all.filter(state.epoch.living.contains).enumerated()
            where !next.living.contains(member) {
                state.fabric?.markLost(Rank(rawValue: place), cause: cause)
            }
            return true
        }
        if isNew { engine.interrupt(before: next.number) }
    }

    /// Leaves the epoch under way, and joins the next.
    ///
    /// - Parameter error: What ended a step; nil where the coordinator had begun an epoch.
    /// - Throws: The error if it is no loss of another rank, or if no epoch follows it.
    func next(
        after error: (any Error)?, _ preparation: EpochPreparation, _ flight: FlightWriter
    ) throws -> PreparedEpoch {
        var error = error
        var hasLeft = state.withLock { $0.isMeeting }
        while true {
            let left = number
            // Whoever is missing where ranks meet is the coordinator's to find.
            if let error, link.epoch.number == left {
                try report(error, left, isMeeting: hasLeft, flight)
            }
            hasLeft = true
            // A rank that waits to hear good-bye from a dead one would let the others wait.
            closeLater(state.withLock { $0.fabric.take() })
            do throws(ClusterError) {
                let epoch = try waitForEpoch(after: left)
                log.notice("epoch \(epoch.number): \(epoch.living.count) ranks go on")
                state.withLock { ($0.epoch, $0.isMeeting) = (epoch, true) }
            } catch let failure {
                throw leave(error ?? failure)
            }
            if let prepared = takePrepared() { return prepared }
            do {
                let (fabric, epoch) = try join()
                return try preparation.prepare(fabric, epoch)
            } catch let failure { error = failure }
        }
    }

    /// Waits for an epoch in which this rank takes part.
    ///
    /// A rank that comes back has no limit of its own: others may come back before it, one at a
    /// time, and the coordinator dismisses a rank that cannot.
    private func waitForEpoch(after left: UInt64) throws(ClusterError) -> JobEpoch {
        let isIn = state.withLock { $0.epoch.living.contains(rank) }
        while true {
            do throws(ClusterError) {
                return try link.waitForEpoch(after: left, limit: patience, of: rank)
            } catch {
                guard case .deadline = error, !isIn, link.end == nil else { throw error }
            }
        }
    }

    /// What was prepared for the present epoch; what was prepared for another is closed.
    private func takePrepared() -> PreparedEpoch? {
        let (prepared, isNow) = state.withLock { state in
            let prepared = state.prepared
            let isNow = prepared?.number == state.epoch.number
            if isNow { state.fabric = prepared?.fabric }
            if isNow || (prepared?.number ?? .max) < state.epoch.number { state.prepared = nil }
            return (prepared, isNow)
        }
        if isNow { return prepared?.epoch }
        if let prepared, prepared.number < number { closeLater(prepared.fabric) }
        return nil
    }

    /// Notes that this rank takes part in the present epoch: all of its ranks have met.
    func takePart() { state.withLock { $0.isMeeting = false } }

    private func closeLater(_ fabric: (any Fabric)?) {
        guard let fabric else { return }
        Thread.detachNewThread { fabric.close() }
    }

    /// Closes the fabrics.
    func close() {
        let (fabric, prepared) = state.withLock { ($0.fabric.take(), $0.prepared.take()) }
        prepared?.fabric.close()
        fabric?.close()
    }

    /// For the coordinator to see who is missing; and for a rank that comes back, to be met. It may
    /// be lost meanwhile, and another one waits for ranks.
    private var patience: Duration {
        job.deadlines.recovery + .seconds(30) + job.coordinatorLimit * 2
    }

    /// - Parameter isMeeting: Whether the ranks were about to meet, so that an error without a name
    ///   may be the loss of another.
    private func report(
        _ error: any Error, _ epoch: UInt64, isMeeting: Bool, _ flight: FlightWriter
    ) throws {
        let loss = error as? TransportError
        guard job.survivesLosses, loss != nil, loss?.rank != rank,
            loss?.rank != nil || isMeeting
        else { throw leave(error) }
        log.warning("epoch \(epoch) ends: \(error)")
        if let lost = loss?.rank {
            link.suspect(lost, epoch: epoch, reason: flight.naming("\(error)"))
        }
    }

    private func leave(_ error: any Error) -> any Error {
        state.withLock { $0.isLeaving = job.survivesLosses && link.end == nil }
        return error
    }
}
