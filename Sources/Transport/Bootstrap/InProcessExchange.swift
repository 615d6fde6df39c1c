import CFabric
import Glibc
import Synchronization
import Topology

/// Meets the ranks that are threads of this process.
///
/// Make one `InProcessRendezvous` for all of them, and `member` for each.
final class InProcessRendezvous: Sendable {
    private struct Round {
        var label = ""
        var blobs: [[UInt8]?]
        var readers = 0
    }

    private struct State {
        var rounds: [Int: Round] = [:]
        var closed: Set<Rank> = []
    }

    /// How many ranks meet.
    let rankCount: Int
    let clock: FabricClock
    private let state: Mutex<State>

    /// A meeting place for ranks `0 ..< rankCount`.
    ///
    /// - Parameter clock: That of the ranks' fabrics.
    init(rankCount: Int, clock: FabricClock = .system) {
        precondition(rankCount > 0, "\(rankCount) ranks")
        self.rankCount = rankCount
        self.clock = clock
        state = Mutex(State())
    }

    /// The exchange of one rank.
    func member(_ rank: Rank) -> InProcessExchange {
        precondition((0 ..< rankCount).contains(rank.rawValue), "\(rank) of \(rankCount)")
        return InProcessExchange(rank: rank, rendezvous: self)
    }

    func post(_ blob: [UInt8], by rank: Rank, round: Int, label: String) -> String? {
        defer { clock.changed() }
        return state.withLock { state in
            var entry =
                state.rounds[round]
                ?? Round(label: label, blobs: Array(repeating: nil, count: rankCount))
            guard entry.label == label else { return entry.label }
            entry.blobs[rank.rawValue] = blob
            state.rounds[round] = entry
            return nil
        }
    }

    enum Progress {
        case complete([[UInt8]])
        case missing(Rank, left: Bool)
    }

    func collect(round: Int) -> Progress {
        state.withLock { state in
            guard var entry = state.rounds[round] else { return .missing(0, left: false) }
            if let missing = entry.blobs.firstIndex(where: { $0 == nil }) {
                let left = state.closed.min { $0 < $1 }
                if let left, entry.blobs[left.rawValue] == nil {
                    return .missing(left, left: true)
                }
                return .missing(Rank(rawValue: missing), left: false)
            }
            let all = entry.blobs.compactMap { $0 }
            entry.readers += 1
            state.rounds[round] = entry.readers == rankCount ? nil : entry
            return .complete(all)
        }
    }

    /// Whether a round waits for a rank that may still come.
    func isWaiting(round: Int) -> Bool {
        state.withLock { state in
            guard let blobs = state.rounds[round]?.blobs, blobs.contains(where: { $0 == nil })
            else { return false }
            return state.closed.min { $0 < $1 }.map { blobs[$0.rawValue] != nil } ?? true
        }
    }

    func close(_ rank: Rank) {
        _ = state.withLock { $0.closed.insert(rank) }
        clock.changed()
    }
}

/// One rank's side of an `InProcessRendezvous`.
final class InProcessExchange: AddressExchange {
    /// This rank.
    let rank: Rank
    /// How many ranks meet.
    var rankCount: Int { rendezvous.rankCount }
    private let rendezvous: InProcessRendezvous
    private let round = Mutex(0)

    init(rank: Rank, rendezvous: InProcessRendezvous) {
        self.rank = rank
        self.rendezvous = rendezvous
    }

    /// Gives every rank the blobs of all, in rank order.
    func allGather(
        _ blob: [UInt8], label: String, deadline: Deadline
    ) throws(TransportError) -> [[UInt8]] {
        let round = round.withLock { round in
            defer { round += 1 }
            return round
        }
        if let theirs = rendezvous.post(blob, by: rank, round: round, label: label) {
            throw .disagreement(
                rank, subject: "an exchange of", theirs: label, ours: theirs)
        }
        while true {
            switch rendezvous.collect(round: round) {
            case .complete(let blobs): return blobs
            case .missing(let rank, left: true):
                throw .rankLost(rank, phase: deadline.description, cause: "it closed its fabric")
            case .missing(let rank, left: false):
                if deadline.hasPassed { throw deadline.missed(by: rank) }
                rendezvous.clock.wait(
                    until: deadline.nanoseconds, every: 100_000,
                    while: { rendezvous.isWaiting(round: round) })
            }
        }
    }

    /// Tells the others that this rank will not come again.
    func close() { rendezvous.close(rank) }
}
