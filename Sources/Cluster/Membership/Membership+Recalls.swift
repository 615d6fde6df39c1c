import Encoding
import Topology

/// How a rank that left on purpose is asked to come back, while the job goes on.
///
/// ```
///   recall ──► the launcher is told, and starts its process ──► it comes back as if it was lost
///              it is not back in time, or is lost on its way ──► away as before
/// ```
extension Membership {
    /// Why a rank cannot be asked to come back; nil where it can.
    func recallRefusal(of rank: Rank) -> String? {
        guard members.indices.contains(rank.rawValue) else {
            return "\(rank) is out of range: the job has \(members.count) ranks, from 0"
        }
        guard phase == .ready, takeOver == nil else {
            return "the job is in phase \(phase), or takes ranks over: ask again when it is ready"
        }
        let member = members[rank.rawValue]
        guard member.drain == .left else {
            if let loss = member.loss { return "\(rank) is lost, and was not drained: \(loss)" }
            return "\(rank) serves"
        }
        return lastNumber < ExpertMap.maximumEpoch ? nil : "no epoch is left"
    }

    /// Asks for a rank to come back; nothing where `recallRefusal` has a reason.
    mutating func recall(_ rank: Rank, _ now: Duration) -> [Action] {
        guard recallRefusal(of: rank) == nil else { return [] }
        members[rank.rawValue].recalled = now
        members[rank.rawValue].lastError = nil
        return [.recalled(rank)]
    }

    /// Gives up ranks that are not back in time: one that is on its way is lost.
    mutating func lateRecall(_ now: Duration) -> [Action] {
        var actions: [Action] = []
        for index in members.indices {
            let member = members[index]
            let rank = Rank(rawValue: index)
            guard let since = member.recalled else { continue }
            if member.connection != nil, now - since > recallLimit {
                let fact = member.lastError ?? "it is in phase \(member.phase)"
                let reason = "\(fact) (\(Self.words(recallLimit, Self.recallKeys)))"
                actions += lose(rank, reason: reason, now)
            } else if member.connection == nil, now - since > min(arrivalLimit, recallLimit) {
                let fact =
                    member.lastError
                    ?? "no process of it came; apus launch starts those that it started before"
                let limit =
                    arrivalLimit < recallLimit
                    ? Self.words(arrivalLimit, "deadlines.joinSeconds, and its former process")
                    : Self.words(recallLimit, Self.recallKeys)
                actions += endRecall(of: rank, reason: "\(fact) (\(limit))")
            }
        }
        return actions
    }

    mutating func endRecall(of rank: Rank, reason: String) -> [Action] {
        guard members[rank.rawValue].recalled != nil else { return [] }
        members[rank.rawValue].recalled = nil
        return [.notReturned(rank, reason: reason)]
    }

    private static let recallKeys = "deadlines.joinSeconds, connectSeconds and loadSeconds"

    private static func words(_ limit: Duration, _ parts: String) -> String {
        "the limit is \(limit.seconds.formatted(digits: 0)) s, of \(parts)"
    }

    /// For a process to start and to arrive, once the former one has ended.
    private var arrivalLimit: Duration {
        (configuration.deadlines[.join] ?? .zero) + JobConfiguration.Deadlines.departure
    }

    /// For a process to start, to load, and for the others to meet it.
    private var recallLimit: Duration {
        (configuration.deadlines[.join] ?? .zero) + recoveryLimit
            + max(Self.candidateLimit, recoveryLimit)
    }
}
