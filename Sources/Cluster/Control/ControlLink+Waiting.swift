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
/// Meanwhile nothing is sent: what is said to nobody is lost, as a request's tokens are. An epoch and
/// a suspicion are said again.
extension ControlLink {
    /// What another coordinator must be told.
    struct Memory {
        /// The last epoch in which this rank took part.
        var recovered: UInt64 = 0
        /// The highest number of an epoch that was heard of.
        var highest: UInt64 = 0
        /// Whom this rank suspected last, and in which epoch.
        var suspicion: (epoch: UInt64, frame: ControlFrame)?

        mutating func heard(_ number: UInt64) { highest = max(highest, number) }
    }

    /// An answer that takes longer is not waited for: the process may hang.
    private static let answerLimit = Duration.seconds(3)

    /// Calls `lost` on the link's thread with the reason when this rank begins to wait for another
    /// coordinator, and `back` when one let it in.
    public func onLoss(
        _ lost: @escaping @Sendable (String) -> Void, back: @escaping @Sendable () -> Void
    ) {
        group.next().execute {
            self.whenLost = lost
            self.whenBack = back
        }
    }

    /// How many coordinators were lost; nil while another one is waited for.
    var lossesSoFar: Int? {
        condition.lock()
        defer { condition.unlock() }
        return isWaiting ? nil : losses
    }

    /// Begins to wait, if this rank may. Called with the lock.
    func beginsToWait() -> Bool {
        guard configuration.waitLimit > .zero, !isClosed, !isWaiting, heldEpoch != nil else {
            return false
        }
        isWaiting = true
        isSearching = true
        losses += 1
        gathered = [:]
        return true
    }

    /// The epoch that this rank was told last, if it belongs to it.
    private var heldEpoch: HeldEpoch? {
        guard let rank = configuration.hello.rank, let epoch = lastEpoch,
            epoch.living.contains(rank)
        else { return nil }
        return HeldEpoch(
            epoch: epoch, takesPart: memory.recovered == epoch.number,
            highestNumber: max(memory.highest, epoch.number))
    }

    /// Looks for another coordinator on a thread of its own.
    func search(_ reason: String) {
        channel?.close(promise: nil)
        whenLost?(reason)
        Thread.detachNewThread { [self] in
            let end = found(reason)
            change { $0.isSearching = false }
            if let end { conclude(end) }
        }
    }

    /// - Returns: How the job ended for this rank; nil once it is let in.
    private func found(_ reason: String) -> JobEnd? {
        let limit = ContinuousClock.now + configuration.waitLimit
        var lastError = "no attempt was made"
        while ContinuousClock.now < limit, !isOver {
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
        return .coordinatorLost(
            reason: "\(reason), and no other one came within \(seconds) s"
                + " (deadlines.coordinatorSeconds): \(lastError)")
    }

    private var isOver: Bool {
        condition.lock()
        defer { condition.unlock() }
        return isClosed || ending != nil
    }

    private func helloAgain() -> Hello {
        condition.lock()
        defer { condition.unlock() }
        var hello = configuration.hello
        hello.held = heldEpoch
        return hello
    }

    /// The coordinator let this worker in, at first or again.
    func letIn(_ welcome: Welcome) {
        condition.lock()
        self.welcome = welcome
        isWelcome = true
        let wasWaiting = isWaiting
        isWaiting = false
        let (recovered, suspicion, now) = (memory.recovered, memory.suspicion, lastEpoch?.number)
        condition.broadcast()
        condition.unlock()
        guard wasWaiting else { return }
        // It may have been said after the hello, to nobody.
        if recovered == now { write(.recovered(epoch: recovered)) }
        if let suspicion, suspicion.epoch == now { write(suspicion.frame) }
        whenBack?()
    }

    /// Ends the search, and waits for its last attempt.
    func stopSearching() {
        let limit = Date(timeIntervalSinceNow: 2 * Self.answerLimit.seconds)
        condition.lock()
        isClosed = true
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
