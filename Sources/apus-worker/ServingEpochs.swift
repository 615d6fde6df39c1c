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
    }

    private let job: JobConfiguration
    private let rank: Rank
    private let link: ControlLink
    private let log: Logger
    private let state: Mutex<State>

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

    /// Joins the ranks of the present epoch.
    func join() throws -> (fabric: any Fabric, epoch: GroupEpoch) {
        let epoch = state.withLock { $0.epoch }
        let fabric = try fabric(of: epoch)
        state.withLock { $0.fabric = fabric }
        return (fabric, group(epoch))
    }

    private func fabric(of epoch: JobEpoch) throws -> any Fabric {
        try JobFabric(job: job, rank: rank, link: link, log: log)
            .makeForGroup(in: epoch, threadsPerRank: job.threads)
    }

    /// The epoch that a rank which comes back prepares for, and its place in it; nil for a rank of
    /// the job's start.
    var returning: (epoch: GroupEpoch, place: Rank)? {
        guard var epoch = link.welcome.returnsTo else { return nil }
        epoch.living = (epoch.living + [rank]).sorted()
        let members = job.groups.group(of: rank).members.filter(epoch.living.contains)
        return members.firstIndex(of: rank).map { (group(epoch), Rank(rawValue: $0)) }
    }

    /// The ranks of this rank's group that take part in an epoch.
    private func group(_ epoch: JobEpoch) -> GroupEpoch {
        let (group, members) = job.groups.group(of: rank)
        let living = members.indices.filter { epoch.living.contains(members[$0]) }
        return GroupEpoch(
            number: epoch.number, rankCount: group.rankCount,
            living: living.map { Rank(rawValue: $0) })
    }

    /// Ends the epoch of `engine` when the coordinator begins another, and prepares for those to
    /// come.
    func follow(_ engine: Engine, _ preparation: EpochPreparation) {
        link.onEpoch({ [self] in begin($0, engine) }) { [self] next in
            // A thread of its own: meeting the others takes longer than the link may be silent.
            Thread.detachNewThread { [self] in prepare(next, preparation) }
        }
    }

    private func prepare(_ next: JobEpoch, _ preparation: EpochPreparation) {
        let members = job.groups.group(of: rank).members
        let now = state.withLock { $0.epoch.living }
        guard members.filter(now.contains) != members.filter(next.living.contains) else {
            return link.prepared(epoch: next.number)
        }
        do {
            let fabric = try fabric(of: next)
            let epoch = try preparation.prepare(fabric, group(next))
            let stale = state.withLock { state in
                defer { state.prepared = (next.number, fabric, epoch) }
                return state.prepared?.fabric
            }
            stale?.close()
            link.prepared(epoch: next.number)
        } catch {
            log.warning("epoch \(next.number) is not prepared: \(error)")
            link.notPrepared(epoch: next.number, reason: "\(error)")
        }
    }

    private func begin(_ next: JobEpoch, _ engine: Engine) {
        let isOurs = state.withLock { state -> Bool in
            let (_, members) = job.groups.group(of: rank)
            let before = members.filter(state.epoch.living.contains)
            // A rank that is not back yet waits for an epoch of which it is a member.
            guard next.living.contains(rank) else { return false }
            guard before != members.filter(next.living.contains) else {
                // Another group's ranks changed.
                state.epoch = next
                return false
            }
            for (place, member) in before.enumerated() where !next.living.contains(member) {
                state.fabric?.markLost(
                    Rank(rawValue: place), cause: "the coordinator gave it up")
            }
            return true
        }
        if isOurs {
            engine.interrupt()
        } else if next.living.contains(rank) {
            link.recovered(epoch: next.number)
        }
    }

    /// Leaves the epoch under way, and joins the next.
    ///
    /// - Parameter error: What ended a step; nil where the coordinator had begun an epoch.
    /// - Throws: The error if it is no loss of another rank, or if no epoch follows it.
    func next(
        after error: (any Error)?, _ preparation: EpochPreparation
    ) throws -> PreparedEpoch {
        var error = error
        while true {
            let left = number
            if let error, link.epoch.number == left { try report(error, left) }
            // A rank that waits to hear good-bye from a dead one would let the others wait.
            closeLater(state.withLock { $0.fabric.take() })
            do throws(ClusterError) {
                let epoch = try link.waitForEpoch(after: left, limit: patience, of: rank)
                log.notice("epoch \(epoch.number): \(epoch.living.count) ranks go on")
                state.withLock { $0.epoch = epoch }
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

    /// For the coordinator to judge a suspicion, or to see a silence itself; and for a rank that
    /// comes back, to be met by the others.
    private var patience: Duration { .seconds(2 * job.deadlines.silenceSeconds + 30) }

    private func report(_ error: any Error, _ epoch: UInt64) throws {
        guard job.survivesLosses, let loss = error as? TransportError, let lost = loss.rank,
            lost != rank
        else { throw leave(error) }
        log.warning("epoch \(epoch) ends: \(error)")
        link.suspect(lost, epoch: epoch, reason: "\(error)")
    }

    private func leave(_ error: any Error) -> any Error {
        state.withLock { $0.isLeaving = job.survivesLosses && link.end == nil }
        return error
    }
}
