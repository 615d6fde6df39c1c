import Synchronization
import Topology

/// The ranks that are lost or have left, as this rank knows it.
final class LostRanks: Sendable {
    private struct Entry {
        var cause: String
        var isMasked = false
    }

    private struct State {
        var entries: [Rank: Entry] = [:]
        var left: Set<Rank> = []
        var suspect: Rank?
        var order: [Rank] = []
    }

    private let names: [Rank]

    /// - Parameter names: What errors call each rank; empty calls them as they are numbered.
    init(names: [Rank] = []) { self.names = names }

    /// What errors call a rank.
    func name(_ rank: Rank) -> Rank {
        names.indices.contains(rank.rawValue) ? names[rank.rawValue] : rank
    }

    /// Adds a rank that a wait gave up on. It is not lost, but the suspect if this rank now leaves.
    func addSuspect(_ rank: Rank) { state.withLock { $0.suspect = $0.suspect ?? rank } }

    /// The rank because of which this rank would leave now.
    var suspect: Rank? {
        state.withLock { state in
            state.order.first { state.entries[$0]?.isMasked == false } ?? state.suspect
        }
    }

    private let state = Mutex(State())
    private let entryCount = Atomic<Int>(0)

    /// Whether nobody is lost or has left; cheap, for the hot path.
    var isEmpty: Bool { entryCount.load(ordering: .acquiring) == 0 }

    /// The lost ranks, in the order in which this rank learned it.
    var ranks: [Rank] { state.withLock { $0.order } }

    func contains(_ rank: Rank) -> Bool { state.withLock { $0.entries[rank] != nil } }

    func isMasked(_ rank: Rank) -> Bool {
        state.withLock { $0.entries[rank]?.isMasked ?? false }
    }

    /// Returns false if the rank was lost already.
    @discardableResult
    func add(_ rank: Rank, cause: String) -> Bool {
        state.withLock { state in
            guard state.entries[rank] == nil else { return false }
            state.entries[rank] = Entry(cause: cause)
            state.order.append(rank)
            entryCount.store(state.order.count + state.left.count, ordering: .releasing)
            return true
        }
    }

    /// Notes that a rank closed its fabric: no loss, but nothing more will come from it.
    ///
    /// - Parameter suspect: The rank because of which it left, which is then lost. Without it, an
    ///   error would name a survivor that left first instead of the rank that died.
    func addLeft(_ rank: Rank, suspect: Rank? = nil) {
        if let suspect, !hasLeft(rank) { add(suspect, cause: "\(name(rank)) gave up on it") }
        state.withLock { state in
            guard state.left.insert(rank).inserted else { return }
            entryCount.store(state.order.count + state.left.count, ordering: .releasing)
        }
    }

    func hasLeft(_ rank: Rank) -> Bool { state.withLock { $0.left.contains(rank) } }

    func mask(_ rank: Rank) {
        state.withLock { $0.entries[rank]?.isMasked = true }
    }

    /// The error of a put to a rank that is gone.
    ///
    /// It names the rank that was lost first, not a survivor that left because of it.
    func refusal(ofPutTo rank: Rank) -> TransportError {
        let loss = ending(waitFor: [rank])
        return .rankLost(
            loss?.rank ?? name(rank), phase: "put", cause: loss?.cause ?? "it was given up")
    }

    /// The loss that must end a wait for `sources`, named as errors name it.
    ///
    /// An unmasked loss ends every wait, because the ranks that are waited for may wait for the
    /// lost rank themselves. The loss of a masked rank ends only waits for that rank.
    func ending(waitFor sources: some Sequence<Rank>) -> (rank: Rank, cause: String)? {
        if isEmpty { return nil }
        return state.withLock { state in
            for rank in state.order {
                if let entry = state.entries[rank], !entry.isMasked {
                    return (name(rank), entry.cause)
                }
            }
            for rank in sources {
                if let entry = state.entries[rank] { return (name(rank), entry.cause) }
                if state.left.contains(rank) { return (name(rank), "it closed its fabric") }
            }
            return nil
        }
    }
}
