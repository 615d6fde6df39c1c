import Logging
import NIOCore
import Topology

/// Who waits for ranks to leave on purpose, or to come back.
struct RankMoves {
    enum Move: Hashable {
        case leave
        case comeBack
    }

    private var promises: [Move: [Rank: [EventLoopPromise<Void>]]] = [:]

    /// Whether somebody waits for a rank.
    func isAwaited(_ rank: Rank, _ move: Move) -> Bool { promises[move]?[rank] != nil }

    mutating func wait(for rank: Rank, _ move: Move, _ promise: EventLoopPromise<Void>) {
        promises[move, default: [:]][rank, default: []].append(promise)
    }

    mutating func succeed(_ rank: Rank, _ move: Move) {
        promises[move]?.removeValue(forKey: rank)?.forEach { $0.succeed() }
    }

    mutating func fail(_ rank: Rank, _ move: Move, _ error: ClusterError) {
        promises[move]?.removeValue(forKey: rank)?.forEach { $0.fail(error) }
    }

    /// Tells everybody who waits.
    mutating func fail(_ error: ClusterError) {
        for promise in promises.values.flatMap(\.values).joined() { promise.fail(error) }
        promises = [:]
    }
}

/// Ranks that leave on purpose and come back, because somebody asked.
extension CoordinatorCore {
    /// Has a rank leave or come back for an observer, which is told what became of it.
    func move(_ rank: Rank, _ move: RankMoves.Move, for id: ConnectionID) {
        guard observers.contains(id), let channel = channels[id] else {
            return refuse(id, "only observers have a rank leave or come back")
        }
        let promise = channel.eventLoop.makePromise(of: Void.self)
        promise.futureResult.whenComplete { outcome in
            let frame: ControlFrame =
                switch (outcome, move) {
                case (.success, .leave): .drained(rank)
                case (.success, .comeBack): .returned(rank)
                case (.failure(let error), .leave): .notDrained(reason: "\(error)")
                case (.failure(let error), .comeBack): .notReturned(reason: "\(error)")
                }
            channel.writeAndFlush(frame, promise: nil)
        }
        self.move(rank, move, promise)
    }

    /// Completes `promise` when a rank has left or is back, or does not move after all.
    func move(_ rank: Rank, _ move: RankMoves.Move, _ promise: EventLoopPromise<Void>) {
        if let failure { return promise.fail(failure) }
        if let end = membership.ending { return promise.fail(ClusterError.ended(end)) }
        let refusal =
            move == .leave ? membership.drainRefusal(of: rank) : membership.recallRefusal(of: rank)
        if let refusal { return promise.fail(ClusterError.badInput(refusal)) }
        // Whoever asked first may be gone: its rank is on its way all the same.
        let isAwaited = moves.isAwaited(rank, move)
        moves.wait(for: rank, move, promise)
        guard !isAwaited else { return }
        apply(move == .leave ? .drain(rank) : .recall(rank))
    }

    func performMove(_ action: Membership.Action) {
        switch action {
        case .draining(let rank):
            log.notice("\(rank) leaves: the others read its experts first")
            handlers.leaving(rank, false)
            // A launcher is to know it before the rank's process ends.
            inform()
        case .notDrained(let rank, let reason):
            log.warning("\(rank) does not leave: \(reason)")
            handlers.leaving(rank, true)
            moves.fail(rank, .leave, .badInput("\(rank) does not leave: \(reason)"))
        case .drained(let rank, let recovering):
            let others = recovering.isEmpty ? "" : ": \(recovering.count) ranks go on"
            log.notice("\(rank) is drained\(others)")
            handlers.left(rank, recovering)
            // A launcher is to know it however soon the process ends, and with whatever exit code;
            // and who waits for the rank, that others are about to change over.
            inform()
            moves.succeed(rank, .leave)
        case .recalled(let rank):
            log.notice("\(rank) is to come back: its launcher starts it")
            inform()
        case .notReturned(let rank, let reason):
            log.warning("\(rank) is not back: \(reason)")
            moves.fail(rank, .comeBack, .deadline("\(rank) is not back: \(reason)"))
        default: preconditionFailure("\(action) moves no rank")
        }
    }
}
