import Encoding
import Foundation
import NIOCore
import NIOPosix
import Topology

/// How a worker waits for another coordinator, with all that it holds.
///
/// ```
///   joined ── the coordinator is lost ──► waiting ── another one lets it in ──► joined
///                                            │
///                                            │ the wait limit passes, a refusal, the job's end
///                                            └──► ended
/// ```
///
/// Meanwhile nothing is sent: what is said to nobody is lost, as a request's tokens are. An epoch
/// and a suspicion are said again.
///
/// One thread searches, also where the coordinator that it found is lost in turn.
extension ControlLink {
    /// What another coordinator must be told.
    struct Memory {
        /// The last epoch in which this rank took part.
        var recovered: UInt64 = 0
        /// The highest number of an epoch that was heard of.
        var highest: UInt64 = 0
        /// Which ranks are away on purpose.
        var drained: DrainedRanks?
        /// How the ranks of the job compute.
        var kernels: [String: String]?
        /// Whom this rank suspected last, and in which epoch.
        var suspicion: (epoch: UInt64, frame: ControlFrame)?

        /// A rank that suspects another has left their epoch, and waits for the next.
        func takesPart(in number: UInt64) -> Bool {
            recovered == number && suspicion?.epoch != number
        }

        mutating func heard(_ number: UInt64) { highest = max(highest, number) }
    }

    /// An answer that takes longer is not waited for: the process may hang.
    private static let answerLimit = Duration.seconds(3)

    /// Calls `lost` on the link's thread with the reason when this rank begins to wait for another
    /// coordinator, and `back` when one let it in. A loss that was before is said, too, with its
    /// end.
    public func onLoss(
        _ lost: @escaping @Sendable (String) -> Void, back: @escaping @Sendable () -> Void
    ) {
        condition.lock()
        whenLost = lost
        whenBack = back
        condition.unlock()
        group.next().execute { self.sayLoss() }
    }

    /// Says a loss once, to whoever wants to know.
    private func sayLoss() {
        condition.lock()
        let (reason, lost) = (unsaidLoss, whenLost)
        let back = isBackUnsaid ? whenBack : nil
        if lost != nil { (unsaidLoss, isBackUnsaid) = (nil, false) }
        condition.unlock()
        guard let reason, let lost else { return }
        lost(reason)
        back?()
    }

    /// How many coordinators were lost; nil while another one is waited for.
    var lossesSoFar: Int? {
        condition.lock()
        defer { condition.unlock() }
        return isWaiting ? nil : losses
    }

    /// Begins to wait, if this rank may. Called with the lock.
    func beginsToWait(_ reason: String) -> Bool {
        guard configuration.waitLimit > .zero, !isClosed, !isWaiting, heldEpoch != nil else {
            return false
        }
        isWaiting = true
        isSearching = true
        loss = (ContinuousClock.now, reason)
        losses += 1
        (unsaidLoss, isBackUnsaid) = (reason, false)
        gathered = [:]
        // The connection that was lost says no more, its close included.
        attempts += 1
        isWelcome = false
        return true
    }

    /// The epoch that this rank was told last, if it belongs to it. Called with the lock.
    var heldEpoch: HeldEpoch? {
        guard let rank = configuration.hello.rank, let epoch = lastEpoch,
            epoch.living.contains(rank)
        else { return nil }
        var held = HeldEpoch(
            epoch: epoch, takesPart: memory.takesPart(in: epoch.number),
            highestNumber: max(memory.highest, epoch.number))
        held.drained = memory.drained
        return held
    }

    /// The highest number of an epoch that this rank heard of.
    public var highestEpoch: UInt64 {
        condition.lock()
        defer { condition.unlock() }
        return memory.highest
    }

    /// Searches for another coordinator on a thread of its own, unless that thread runs already.
    func search(isSearched: Bool) {
        condition.lock()
        let channel = channel
        condition.unlock()
        channel?.close(promise: nil)
        sayLoss()
        guard !isSearched else { return }
        Thread.detachNewThread { [self] in
            var end: JobEnd?
            repeat { end = found() } while end == nil && !isDone()
            guard let end else { return }
            change { $0.isSearching = false }
            conclude(end)
        }
    }

    /// Ends the search, unless the coordinator that was found is lost already.
    private func isDone() -> Bool {
        condition.lock()
        defer { condition.unlock() }
        guard !isWaiting else { return false }
        isSearching = false
        condition.broadcast()
        return true
    }

    /// The time is that since the last loss: another one gives the next coordinator as much.
    ///
    /// - Returns: How the job ended for this rank; nil once it is let in.
    private func found() -> JobEnd? {
        var lastError = "no attempt was made"
        while let limit = searchLimit, .now < limit {
            do throws(ClusterError) {
                try attempt(until: min(limit, .now + Self.answerLimit), helloAgain())
                return nil
            } catch .refused(let words) {
                return .lost(
                    rank: configuration.hello.rank ?? 0, phase: .ready, epoch: epoch.number,
                    reason: "the coordinator that takes the job over refused it: \(words)")
            } catch .ended(let end) where !end.isLossOfCoordinator {
                return end
            } catch {
                lastError = error.description
            }
            Thread.sleep(forTimeInterval: Self.retryPause)
        }
        let seconds = configuration.waitLimit.seconds.formatted(digits: 1)
        condition.lock()
        let reason = loss?.reason ?? "it is gone"
        condition.unlock()
        return .coordinatorLost(
            reason: "\(reason), and no other one came within \(seconds) s"
                + " (deadlines.coordinatorSeconds): \(lastError)")
    }

    /// Until when it is worth to search; nil once nobody wants to know.
    private var searchLimit: ContinuousClock.Instant? {
        condition.lock()
        defer { condition.unlock() }
        return isClosed || ending != nil ? nil : loss.map { $0.since + configuration.waitLimit }
    }

    private func helloAgain() -> Hello {
        condition.lock()
        defer { condition.unlock() }
        var hello = configuration.hello
        hello.held = heldEpoch
        if let agreed = memory.kernels { hello.kernels = hello.kernels?.limited(to: agreed) }
        return hello
    }

    /// The coordinator let this worker in, at first or again.
    func letIn(_ welcome: Welcome, _ attempt: Int) {
        condition.lock()
        // The search may have given this attempt up a moment ago.
        guard attempts == attempt else { return condition.unlock() }
        self.welcome = welcome
        isWelcome = true
        let wasWaiting = isWaiting
        isWaiting = false
        let (memory, now) = (memory, lastEpoch?.number)
        // Who heard of no loss yet hears of both, one after the other.
        isBackUnsaid = wasWaiting && unsaidLoss != nil
        let back = isBackUnsaid ? nil : whenBack
        condition.broadcast()
        condition.unlock()
        guard wasWaiting else { return }
        // The lost coordinator's, which nobody took.
        early = []
        // It may have been said after the hello, to nobody.
        if let now, memory.takesPart(in: now) { write(.recovered(epoch: now)) }
        if let suspicion = memory.suspicion, suspicion.epoch == now { write(suspicion.frame) }
        back?()
    }

    /// Ends the search, and waits for its last attempt.
    func stopSearching() {
        let limit = Date(timeIntervalSinceNow: 2 * Self.answerLimit.seconds)
        condition.lock()
        isClosed = true
        condition.broadcast()
        while isSearching, condition.wait(until: limit) {}
        condition.unlock()
    }
}

extension JobEnd {
    fileprivate var isLossOfCoordinator: Bool {
        if case .coordinatorLost = self { return true }
        return false
    }
}
